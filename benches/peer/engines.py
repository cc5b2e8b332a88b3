"""The fifteen features of the handbook for daily Parquet files, by the window functions of DuckDB or of Polars on all
cores, then scikit-learn's partial_fit day by day, each day's model evaluated on that day and on the last, which is the
test. What a user would write today. Prints one line of JSON with the times and the sum of each feature.

    python engines.py DATA duckdb|polars [--days N]

DATA is a folder of daily Parquet files, such as `fixtures generate` writes. Imports are not counted.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

DAY = 86_400
DELAY = 7 * DAY
WINDOWS = {"1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}


def by_duckdb(files):
    import duckdb

    names, windows = [], []
    for name, seconds in WINDOWS.items():
        names += [f"count(*) OVER c{name} AS customer_count_{name}", f"avg(amount) OVER c{name} AS customer_mean_{name}"]
        windows += [f"c{name} AS (PARTITION BY customer ORDER BY t RANGE BETWEEN {seconds - 1} PRECEDING AND CURRENT ROW)"]
    for name, seconds in WINDOWS.items():
        names += [f"count(*) OVER t{name} AS terminal_count_{name}", f"coalesce(avg(fraud) OVER t{name}, 0) AS terminal_risk_{name}"]
        reach = f"{DELAY + seconds - 1} PRECEDING AND {DELAY} PRECEDING"
        windows += [f"t{name} AS (PARTITION BY terminal ORDER BY t RANGE BETWEEN {reach})"]
    query = f"""
        WITH tx AS (
            SELECT epoch(TX_DATETIME)::BIGINT AS t, CUSTOMER_ID AS customer, TERMINAL_ID AS terminal,
                TX_AMOUNT AS amount, TX_FRAUD AS fraud, TRANSACTION_ID AS id
            FROM read_parquet({[str(file) for file in files]!r}))
        SELECT t // {DAY} AS day, fraud, amount, ((t // {DAY} + 3) % 7 >= 5)::INT AS during_weekend,
            (t % {DAY} // 3600 <= 6)::INT AS during_night, {", ".join(names)}
        FROM tx WINDOW {", ".join(windows)} ORDER BY t, id"""
    found = duckdb.connect().execute(query).fetchnumpy()
    return {name: np.asarray(column) for name, column in found.items()}


def by_polars(files):
    import polars as pl

    t = pl.col("t")
    customer, terminal = [], []
    for name, seconds in WINDOWS.items():
        spent = pl.col("amount").rolling_mean_by("t", f"{seconds}i").over("customer")
        count = pl.col("one").rolling_sum_by("t", f"{seconds}i").over("customer")
        customer += [count.alias(f"customer_count_{name}"), spent.alias(f"customer_mean_{name}")]
    known = {column: pl.col(column).rolling_sum_by("t", f"{DELAY}i").over("terminal") for column in ("one", "fraud")}
    for name, seconds in WINDOWS.items():
        of = lambda column: pl.col(column).rolling_sum_by("t", f"{DELAY + seconds}i").over("terminal") - known[column]
        risk = (of("fraud") / of("one")).fill_nan(0.0)
        terminal += [of("one").alias(f"terminal_count_{name}"), risk.alias(f"terminal_risk_{name}")]
    rows = (
        pl.scan_parquet(files)
        .select(
            t=pl.col("TX_DATETIME").dt.epoch("s"),
            customer="CUSTOMER_ID",
            terminal="TERMINAL_ID",
            amount="TX_AMOUNT",
            fraud=pl.col("TX_FRAUD").cast(pl.Int64),
            id="TRANSACTION_ID",
            one=pl.lit(1, pl.Int64),
        )
        .sort("t", "id")
        .select(
            (t // DAY).alias("day"),
            "fraud",
            "amount",
            ((t // DAY + 3) % 7 >= 5).cast(pl.Int32).alias("during_weekend"),
            (t % DAY // 3600 <= 6).cast(pl.Int32).alias("during_night"),
            *customer,
            *terminal,
        )
    )
    return {column.name: column.to_numpy() for column in rows.collect()}


def learn(columns):
    """Learns day by day; the average precision of the last day's model on the test day."""
    names = [name for name in columns if name not in ("day", "fraud")]
    values = np.column_stack([columns[name] for name in names]).astype(np.float32)
    fraud, day = columns["fraud"].astype(np.int64), columns["day"]
    days = np.unique(day)
    model, scaler, testing = SGDClassifier(loss="log_loss", random_state=0), None, day == days[-1]
    for one in days[:-1]:
        own = day == one
        scaler = scaler or StandardScaler().fit(values[own])
        model.partial_fit(scaler.transform(values[own]), fraud[own], classes=[0, 1])
        for rows in (own, testing):
            score = model.decision_function(scaler.transform(values[rows]))
            measured = average_precision_score(fraud[rows], score), roc_auc_score(fraud[rows], score)
    return measured[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("engine", choices=["duckdb", "polars"])
    parser.add_argument("--days", type=int)
    arguments = parser.parse_args()
    files = sorted(Path(arguments.data).glob("*.parquet"))[: arguments.days]
    began = time.perf_counter()
    columns = {"duckdb": by_duckdb, "polars": by_polars}[arguments.engine](files)
    features = time.perf_counter()
    precision = learn(columns)
    ended = time.perf_counter()
    sums = {name: round(float(np.sum(column, dtype=np.float64)), 3) for name, column in columns.items()}
    print(json.dumps({
        "engine": arguments.engine, "rows": len(columns["fraud"]), "features_s": round(features - began, 2),
        "learn_s": round(ended - features, 2), "total_s": round(ended - began, 2),
        "average_precision": round(precision, 4), "sums": sums,
    }))


if __name__ == "__main__":
    main()
