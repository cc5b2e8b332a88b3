#!/usr/bin/env bash
# polars' write_parquet(partition_by=…) replaces the partitions that the day before has written.
#
# Each call names its files alike from 0, so that a second day in the same folder overwrites the first one's rows in each
# partition that both have, and keeps them in the others: neither an append nor a replacement. Nothing says so, and no
# option is needed. pyarrow's write_dataset and DuckDB's COPY refuse a folder that is not empty; pandas adds files.
#
# Seen on 2026-12-01 with polars 2.1.0, pyarrow 26.0.1, duckdb 2.0.1, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0 pyarrow==26.0.1 duckdb==2.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import os
import duckdb, polars as pl, pyarrow.dataset as dataset
days = [pl.DataFrame({"region": ["north", "south"], "id": [1, 2]}), pl.DataFrame({"region": ["north", "west"], "id": [3, 4]})]
def with_polars(day):
    day.write_parquet("polars", partition_by="region")
def with_pyarrow(day):
    dataset.write_dataset(day.to_arrow(), "pyarrow", format="parquet", partitioning=["region"], partitioning_flavor="hive")
def with_duckdb(day):
    duckdb.sql("copy day to 'duckdb' (format parquet, partition_by (region))")
for write in (with_polars, with_pyarrow, with_duckdb):
    name = write.__name__.removeprefix("with_")
    os.makedirs(name)
    try:
        for day in days:
            write(day)
        second = "taken"
    except Exception as error:
        second = f"refused, {type(error).__name__}"
    print(name, "second day", second, "ids", sorted(pl.read_parquet(f"{name}/*/*.parquet")["id"].to_list()))
PYTHON
diff seen - <<'EXPECTED'
polars second day taken ids [2, 3, 4]
pyarrow second day refused, ArrowInvalid ids [1, 2]
duckdb second day refused, IOException ids [1, 2]
EXPECTED
echo "as seen before"
