"""The peer of the fraud workload: the same features in vectorised numpy, the same bins, and scikit-learn's
sparse partial_fit, day by day. From Parquet to an evaluated model; prints one line of JSON with a time
per stage and their sum. Imports are not counted.

    python fraud.py DATA [--features blend|rich|suspicion|handbook] [--each-day] [--values-out FILE.npy]

DATA is the folder of the handbook's daily Parquet files. `blend`, the default, is two chains of 16 and of
four features, whose scores are averaged; the others are one: `rich` of 40, `suspicion` of four, `handbook`
of 15. With --each-day the model of every training day is evaluated on the test days, as the program does.
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

HANDBOOK = (
    "amount during_weekend during_night customer_count_1d customer_mean_1d customer_count_7d customer_mean_7d "
    "customer_count_30d customer_mean_30d terminal_count_1d terminal_risk_1d terminal_count_7d terminal_risk_7d "
    "terminal_count_30d terminal_risk_30d"
).split()

AMOUNT_EDGES = np.arange(20.0, 221, 20)
# Edges of those of the handbook that the default set has: as in the program's first version.
GIVEN = {"amount": AMOUNT_EDGES, "terminal_risk_7d": np.array([0.0, 0.1111, 0.1818, 0.6429, 1.0])}
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


def windows(entity, sums, ends, until=None):
    """For each row, the number of the entity's rows and the sum of their values after `end` seconds
    before it, for each of `ends`; up to itself, or up to `until` seconds before it."""
    last = np.arange(1, len(sums)) if until is None else entity.after(until)
    for end in ends:
        first = entity.after(end)
        yield entity.back(last - first), entity.back(sums[last] - sums[first])


def handbook(when, cards, terminals, cents):
    """In the order of HANDBOOK."""
    columns = [cents / 100, (when // DAY + 3) % 7 >= 5, when % DAY // 3600 <= 6]
    for count, total in windows(cards, cards.spent, [DAY, 7 * DAY, 30 * DAY]):
        columns += [count, total / 100 / count]
    delay = 7 * DAY
    ends = [delay + days * DAY for days in (1, 7, 30)]
    for count, total in windows(terminals, terminals.frauds, ends, delay):
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
    by_entity = lambda: [rich.Sorted(entity, when, cents, fraud) for entity in (customer, terminal)]
    if features == "handbook":
        columns = handbook(when, *by_entity(), cents)
        stage("features")
        return [(columns, quantiles(columns, some))]
    usual_of = suspicion.usual_by_day(day, customer, cents)
    names, columns, suspected = [], [], None
    if features == "blend":
        names = rich.HELPFUL
        columns = rich.features(names, *by_entity(), customer, cents, day, usual_of)
    if features == "rich":
        names, entities = HANDBOOK + rich.BESIDE_HANDBOOK, by_entity()
        columns = handbook(when, *entities, cents)
        columns += rich.features(rich.BESIDE_HANDBOOK, *entities, customer, cents, day, usual_of)
    else:
        suspected = suspicion.features(when, customer, terminal, cents, fraud, day, usual_of)
    stage("features")
    found = []
    if columns:
        edge_of = lambda name, values: GIVEN[name] if name in GIVEN else rich.edges(name, values[some], QUANTILES)
        found.append((columns, [edge_of(name, values) for name, values in zip(names, columns, strict=True)]))
    if suspected:
        level = np.clip(np.round(suspected[3], 1), -12, 12)
        found.append(([*suspected[:3], level], [*SUSPICION_EDGES, None]))
    return found


def fit(bins, fraud, day, days, test, each_day):
    """Scores of the test rows by a learner that learns day by day: after the last day, or after each."""
    model, scores = SGDClassifier(loss="log_loss", alpha=1e-6, learning_rate="adaptive", eta0=0.05, random_state=0), []
    for today in days:
        rows = slice(*np.searchsorted(day, [today, today + 1]))
        model.partial_fit(bins[rows], fraud[rows], classes=[0, 1])
        if each_day or today == days[-1]:
            scores.append(model.decision_function(bins[test]))
    return scores


def measure(fraud, scores):
    return {
        "auc_roc": float(roc_auc_score(fraud, scores)),
        "average_precision": float(average_precision_score(fraud, scores)),
    }


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("data")
    arguments.add_argument("--features", choices=["blend", "rich", "suspicion", "handbook"], default="blend")
    arguments.add_argument("--each-day", action="store_true")
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
    days = range(date(TRAINING[0]), date(TRAINING[1]) + 1)
    test = slice(*np.searchsorted(day, [date(TESTING[0]), date(TESTING[1]) + 1]))
    scores = [fit(bins, fraud, day, days, test, arguments.each_day) for bins in encoded]
    stage("fit")
    measures = [measure(fraud[test], np.mean(of_day, axis=0)) for of_day in zip(*scores)][-1]
    stage("evaluate")
    if arguments.values_out:
        columns = [values for columns, _ in of_chains for values in columns]
        np.save(arguments.values_out, np.stack([np.asarray(values, float) for values in columns], 1))
    seconds = {name: round(value, 3) for name, value in stages.items()}
    count = int(np.searchsorted(day, date(TRAINING[1]) + 1))
    print(json.dumps({"rows": count, **measures, "seconds": seconds, "total_s": round(sum(stages.values()), 3)}))


if __name__ == "__main__":
    main()
