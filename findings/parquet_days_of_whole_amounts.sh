#!/usr/bin/env bash
# DuckDB rounds and fastparquet truncates a later day's amounts where the first day's were whole.
#
# pandas and others write a day whose amounts are all whole as integers. Over several files DuckDB takes the first
# one's types and rounds 12.75 to 13; fastparquet truncates it to 12, and does so again while it appends a day to a
# file. Neither warns. pyarrow and polars refuse the same files. With DuckDB, union_by_name finds the wider type.
#
# Seen on 2026-12-01 with duckdb 2.0.1, fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, Python 3.11.
# Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  duckdb==2.0.1 fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import duckdb, fastparquet, pandas as pd, polars as pl, pyarrow.parquet as pq
first, second = pd.DataFrame({"amount": [5, 6]}), pd.DataFrame({"amount": [12.75, 13.25]})
days = ["2018-04-01.parquet", "2018-04-02.parquet"]
first.to_parquet(days[0]), second.to_parquet(days[1])
def amounts(query):
    return [row[0] for row in duckdb.sql(query).fetchall()]
print("duckdb", amounts("from '2018-*.parquet'"))
print("duckdb, union_by_name", amounts("from read_parquet('2018-*.parquet', union_by_name=true)"))
print("fastparquet", fastparquet.ParquetFile(days).to_pandas()["amount"].tolist())
fastparquet.write("all.parquet", first)
fastparquet.write("all.parquet", second, append=True)
print("appended by fastparquet, read by pyarrow", pq.read_table("all.parquet")["amount"].to_pylist())
for name, read in (("pyarrow", pq.read_table), ("polars", pl.read_parquet)):
    try:
        print(name, read(days)["amount"].to_list())
    except Exception as error:
        print(name, type(error).__name__)
PYTHON
diff seen - <<'EXPECTED'
duckdb [5, 6, 13, 13]
duckdb, union_by_name [5.0, 6.0, 12.75, 13.25]
fastparquet [5, 6, 12, 13]
appended by fastparquet, read by pyarrow [5, 6, 12, 13]
pyarrow ArrowInvalid
polars SchemaError
EXPECTED
echo "as seen before"
