#!/usr/bin/env bash
# A CSV's ids of 64 unsigned bits become floats on their way to Parquet, and customers coincide.
#
# One id above 2^63, as hashes have on any day, and pyarrow.csv (and pandas with engine="pyarrow") takes float64 for
# the whole column, smaller ids included. DuckDB reads HUGEINT, exactly, and writes that to Parquet as DOUBLE, though
# it hands the same column to Arrow as an exact decimal. pandas' own reader takes uint64, and all ids stay apart.
#
# Seen on 2026-12-01 with pyarrow 26.0.1, duckdb 2.0.1, pandas 3.1.1, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 duckdb==2.0.1 pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import duckdb, pandas as pd, pyarrow.csv as csv, pyarrow.parquet as pq
open("day.csv", "w").write("customer\n1152921504606846977\n1152921504606846978\n13835058055282163713\n")
def seen(table):
    column = table["customer"]
    return f"{column.type}, {len(column.unique())} customers"
print("pyarrow.csv:", seen(csv.read_csv("day.csv")))
for engine in ("pyarrow", "c"):
    column = pd.read_csv("day.csv", engine=engine)["customer"]
    print(f"pandas, engine {engine}: {column.dtype}, {column.nunique()} customers")
print("duckdb:", *duckdb.sql("select typeof(any_value(customer)), count(distinct customer) from 'day.csv'").fetchall()[0])
print("duckdb to Arrow:", seen(duckdb.sql("from 'day.csv'").to_arrow_table()))
duckdb.sql("copy (from 'day.csv') to 'day.parquet'")
print("duckdb to Parquet:", seen(pq.read_table("day.parquet")))
PYTHON
diff seen - <<'EXPECTED'
pyarrow.csv: double, 2 customers
pandas, engine pyarrow: float64, 2 customers
pandas, engine c: uint64, 3 customers
duckdb: HUGEINT 3
duckdb to Arrow: decimal128(38, 0), 3 customers
duckdb to Parquet: double, 2 customers
EXPECTED
echo "as seen before"
