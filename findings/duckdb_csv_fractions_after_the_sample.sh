#!/usr/bin/env bash
# DuckDB rounds the amounts of a CSV to whole numbers where the first fraction comes after the rows that it samples.
#
# read_csv chooses a column's type from the first 20480 lines. Where these are whole it takes BIGINT, and rounds each
# later 12.75 to 13 in place of an error, also with strict_mode and without ignore_errors: the sum is wrong and
# nothing says so. A text that is no number is an error in the same place, so that the type looks as if it were
# checked. polars stops at such a row. sample_size=-1, or the column's type, is right.
#
# Seen on 2026-12-01 with duckdb 2.0.1, polars 2.1.0, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 polars==2.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import duckdb, polars as pl
with open("day.csv", "w") as day:
    day.write("id,amount\n")
    day.writelines(f"{row},5\n" for row in range(30_000))
    day.write("30000,12.75\n")
query = "select typeof(amount), amount from read_csv('day.csv'{}) where id = 30000"
print("duckdb", duckdb.sql(query.format("")).fetchall()[0])
print("duckdb, strict_mode", duckdb.sql(query.format(", strict_mode=true")).fetchall()[0])
print("duckdb, sample_size=-1", duckdb.sql(query.format(", sample_size=-1")).fetchall()[0])
try:
    print("polars", pl.read_csv("day.csv")["amount"][-1])
except Exception as error:
    print("polars", type(error).__name__, str(error).splitlines()[0])
with open("day.csv", "a") as day:
    day.write("30001,none\n")
try:
    print("duckdb, a word", duckdb.sql(query.format("")).fetchall()[0])
except Exception as error:
    print("duckdb, a word:", type(error).__name__)
PYTHON
diff seen - <<'EXPECTED'
duckdb ('BIGINT', 13)
duckdb, strict_mode ('BIGINT', 13)
duckdb, sample_size=-1 ('DOUBLE', 12.75)
polars ComputeError could not parse `12.75` as dtype `i64` at column 'amount' (column number 2)
duckdb, a word: ConversionException
EXPECTED
echo "as seen before"
