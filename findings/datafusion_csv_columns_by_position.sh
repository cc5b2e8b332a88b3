#!/usr/bin/env bash
# DataFusion reads a folder of CSV files by position: a day whose columns stand in another order is swapped.
#
# Each file has a header with the same names. DataFusion compares types only, so that two columns of ids change
# places without an error; pyarrow and DuckDB go by the names, and polars refuses. DataFusion itself goes by the names
# where the same days are Parquet.
#
# Seen on 2026-12-01 with datafusion 55.0.0, pyarrow 26.0.1, duckdb 2.0.1, polars 2.1.0, Python 3.11.
# Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  datafusion==55.0.0 pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import os
import datafusion, duckdb, polars as pl, pyarrow as pa, pyarrow.csv as csv, pyarrow.dataset as dataset, pyarrow.parquet as pq
os.makedirs("csv"), os.makedirs("parquet")
days = {"2018-04-01": "id,customer,terminal\n1,100,5\n2,101,6\n", "2018-04-02": "id,terminal,customer\n3,7,102\n4,8,103\n"}
for day, text in days.items():
    open(f"csv/{day}.csv", "w").write(text)
    pq.write_table(csv.read_csv(f"csv/{day}.csv"), f"parquet/{day}.parquet")
schema = pa.schema([(name, pa.int64()) for name in ("id", "customer", "terminal")])
context = datafusion.SessionContext()
context.register_csv("texts", "csv/", schema=schema)
context.register_parquet("tables", "parquet/")
def customers(table):
    return context.sql(f"select customer from {table} order by id").to_pydict()["customer"]
print("datafusion, CSV", customers("texts"))
print("datafusion, Parquet", customers("tables"))
context.register_csv("inferred", "csv/")
print("datafusion, CSV without a schema: as many right as", sum(id >= 100 for id in customers("inferred")), "of 4")
print("pyarrow", dataset.dataset("csv", format="csv").to_table()["customer"].to_pylist())
print("duckdb", [row[0] for row in duckdb.sql("select customer from 'csv/*.csv' order by id").fetchall()])
try:
    print("polars", pl.scan_csv("csv/*.csv").collect()["customer"].to_list())
except Exception as error:
    print("polars", type(error).__name__, str(error).splitlines()[0])
PYTHON
diff seen - <<'EXPECTED'
datafusion, CSV [100, 101, 7, 8]
datafusion, Parquet [100, 101, 102, 103]
datafusion, CSV without a schema: as many right as 2 of 4
pyarrow [100, 101, 102, 103]
duckdb [100, 101, 102, 103]
polars ComputeError schema names differ: got customer, expected terminal
EXPECTED
echo "as seen before"
