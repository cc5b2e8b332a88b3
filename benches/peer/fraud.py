"""The peer of the fraud workload: the same features in vectorised numpy, the same bins, and scikit-learn's
sparse partial_fit, day by day. From Parquet to an evaluated model; prints one line of JSON with a time
per stage and their sum. Imports are not counted.

    python fraud.py DATA [--features blend|suspicion|handbook] [--values-out FILE.npy]

DATA is the folder of the handbook's daily Parquet files.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

import rich
import suspicion

DAY = 86_400
TRAINING = ("2018-04-01", "2018-07-31")
TESTING = ("2018-08-08", "2018-08-14")
QUANTILES = np.array([1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 97, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98]) / 100

AMOUNT_EDGES = np.arange(20.0, 221, 20)
SUSPICION_EDGES = [
    AMOUNT_EDGES,
    np.concatenate([[-6.5, -6, -5.5], np.arange(-5.0, 9)]),
    np.arange(-5.0, 9),
]


def read(folder):
    columns = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
    days = [pq.read_table(file, columns=columns, use_threads=True) for file in sorted(Path(folder).glob("*.parquet"))]
    column = lambda name: np.concatenate([day[name].to_numpy() for day in days])
    when = column("TX_DATETIME").astype("datetime64[s]").astype(np.int64)
    order = np.lexsort((column("TRANSACTION_ID"), when))
    cents = np.rint(column("TX_AMOUNT") * 100).astype(np.int64)
    names = column("CUSTOMER_ID"), column("TERMINAL_ID"), cents, column("TX_FRAUD")
    return when[order], *(name[order] for name in names)


def windows(entity, when, values, ends, until=None):
    """For each row, the number of the entity's rows and the sum of their values after `end` seconds
    before it, for each of `ends`; up to itself, or up to `until` seconds before it."""
    order = np.argsort(entity, kind="stable")
    # Keys that grow by entity, then time: a window's edge is a search.
    key = (entity[order] << 34) + when[order]
    sums = np.concatenate([[0], np.cumsum(values[order])])
    last = np.arange(1, len(key) + 1) if until is None else np.searchsorted(key, key - until, side="right")
    found = []
    for end in ends:
        first = np.searchsorted(key, key - end, side="right")
        count, total = np.empty(len(key), np.int64), np.empty(len(key), np.int64)
        count[order], total[order] = last - first, sums[last] - sums[first]
        found.append((count, total))
    return found


def handbook(when, customer, terminal, cents, fraud):
    columns = [cents / 100, (when // DAY + 3) % 7 >= 5, when % DAY // 3600 <= 6]
    for count, total in windows(customer, when, cents, [DAY, 7 * DAY, 30 * DAY]):
        columns += [count, total / 100 / count]
    delay = 7 * DAY
    for count, total in windows(terminal, when, fraud, [delay + days * DAY for days in (1, 7, 30)], delay):
        columns += [count, np.divide(total, count, out=np.zeros(len(when)), where=count > 0)]
    return columns


def quantiles(columns, some):
    """Edges of each column's bins: quantiles of some rows."""
    return [np.unique(np.quantile(values[some].astype(float), QUANTILES)) for values in columns]


def encode(columns, edges):
    """Bins as columns of a sparse matrix, one-hot; a column without edges is one as it is."""
    rows, offset, codes, data = len(columns[0]), 0, [], []
    for values, edge in zip(columns, edges, strict=True):
        codes.append(np.searchsorted(edge, values, side="right") + offset if edge is not None else np.full(rows, offset))
        data.append(np.ones(rows) if edge is not None else values)
        offset += len(edge) + 1 if edge is not None else 1
    codes = np.stack(codes, 1).astype(np.int32)
    pointers = np.arange(rows + 1) * len(columns)
    return codes, csr_matrix((np.stack(data, 1).ravel(), codes.ravel(), pointers), shape=(rows, offset))


def chains(features, when, customer, terminal, cents, fraud, stage):
    """The columns and the edges of their bins, of each chain."""
    day = when // DAY
    date = lambda text: np.datetime64(text).astype("datetime64[D]").astype(np.int64)
    some = (day >= date("2018-05-01")) & (day <= date("2018-05-07"))
    rows = when, customer, terminal, cents, fraud
    if features == "handbook":
        columns = handbook(*rows)
        stage("features")
        return [(columns, quantiles(columns, some))]
    usual_of = suspicion.usual_by_day(day, customer, cents)
    found = []
    if features == "blend":
        found.append(rich.features(*rows, day, usual_of))
    found.append(suspicion.features(*rows, day, usual_of))
    stage("features")
    level = np.clip(np.round(found[-1][3], 1), -12, 12)
    edges = [([*found[-1][:3], level], [*SUSPICION_EDGES, None])]
    if features == "blend":
        named = zip(rich.NAMES, found[0], strict=True)
        of_week = [rich.edges(name, values[some], QUANTILES) for name, values in named]
        # Of the handbook's own: those of the program's first version.
        risk = [0.0, 0.1111, 0.1818, 0.6429, 1.0]
        edges.insert(0, (found[0], [AMOUNT_EDGES, np.array(risk), *of_week[2:]]))
    return edges


def fit(bins, fraud, day, days):
    """A learner that has learned day by day."""
    model = SGDClassifier(loss="log_loss", alpha=1e-6, learning_rate="adaptive", eta0=0.05, random_state=0)
    for today in days:
        rows = slice(*np.searchsorted(day, [today, today + 1]))
        model.partial_fit(bins[rows], fraud[rows], classes=[0, 1])
    return model


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("data")
    arguments.add_argument("--features", choices=["blend", "suspicion", "handbook"], default="blend")
    arguments.add_argument("--values-out")
    arguments = arguments.parse_args()
    stages, began = {}, time.perf_counter()

    def stage(name):
        nonlocal began
        now = time.perf_counter()
        stages[name] = now - began
        began = now

    rows = read(arguments.data)
    when, fraud = rows[0], rows[4]
    stage("read")
    of_chains = chains(arguments.features, *rows, stage)
    day = when // DAY
    encoded = [encode(columns, edges)[1] for columns, edges in of_chains]
    stage("bins")
    date = lambda text: np.datetime64(text).astype("datetime64[D]").astype(np.int64)
    models = [fit(bins, fraud, day, range(date(TRAINING[0]), date(TRAINING[1]) + 1)) for bins in encoded]
    stage("fit")
    test = slice(*np.searchsorted(day, [date(TESTING[0]), date(TESTING[1]) + 1]))
    scores = np.mean([model.decision_function(bins[test]) for model, bins in zip(models, encoded)], axis=0)
    measures = {
        "auc_roc": float(roc_auc_score(fraud[test], scores)),
        "average_precision": float(average_precision_score(fraud[test], scores)),
    }
    stage("evaluate")
    if arguments.values_out:
        columns = [values for columns, _ in of_chains for values in columns]
        np.save(arguments.values_out, np.stack([np.asarray(values, float) for values in columns], 1))
    seconds = {name: round(value, 3) for name, value in stages.items()}
    count = int(np.searchsorted(day, date(TRAINING[1]) + 1))
    print(json.dumps({"rows": count, **measures, "seconds": seconds, "total_s": round(sum(stages.values()), 3)}))


if __name__ == "__main__":
    main()
