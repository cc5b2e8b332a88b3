#!/usr/bin/env bash
# Filters that are pushed down to Parquet lose rows with NaN, and add them to `x = 1.0`.
#
# pyarrow and polars leave NaN out of a row group's minimum and maximum, as the format asks. DuckDB and DataFusion
# hold 1.0 = NaN false and NaN > 2.0 true, yet decide by the statistics: a row group of 1.0 and NaN "is all 1.0", so
# that `x <> 1.0` and `x > 2.0` skip the NaN and `x = 1.0` returns it. pyarrow's dataset loses it from `x != 1.0`. The
# same rows in memory give other results. DuckDB's own files have no statistics there, so its result depends
# on the writer. polars filters rightly.
#
# Seen on 2026-12-01 with pyarrow 26.0.1, duckdb 2.0.1, datafusion 55.0.0, polars 2.1.0, Python 3.11.
# Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pyarrow==26.0.1 duckdb==2.0.1 datafusion==55.0.0 polars==2.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import datafusion, duckdb, polars as pl, pyarrow as pa, pyarrow.dataset as dataset, pyarrow.parquet as pq
memory = pa.table({"id": [1, 2, 3], "x": [1.0, float("nan"), 1.0]})
pq.write_table(memory, "pyarrow.parquet")
duckdb.sql("copy memory to 'duckdb.parquet'")
context = datafusion.SessionContext()
context.register_parquet("file", "pyarrow.parquet")
context.register_record_batches("memory", [memory.to_batches()])
field, column = dataset.field("x"), pl.col("x")
filters = {
    "x <> 1.0": (field != 1.0, column != 1.0),
    "x > 2.0": (field > 2.0, column > 2.0),
    "x = 1.0": (field == 1.0, column == 1.0),
}
def with_duckdb(table, where):
    return [row[0] for row in duckdb.sql(f"select id from {table} where {where}").fetchall()]
def with_datafusion(table, where):
    return context.sql(f"select id from {table} where {where}").to_pydict().get("id", [])
for where, (arrow, polars) in filters.items():
    print(f"{where}: ids from the file, ids from memory")
    print("  duckdb", with_duckdb("'pyarrow.parquet'", where), with_duckdb("memory", where))
    print("  duckdb, of its own file", with_duckdb("'duckdb.parquet'", where))
    print("  datafusion", with_datafusion("file", where), with_datafusion("memory", where))
    print("  pyarrow", dataset.dataset("pyarrow.parquet").to_table(filter=arrow)["id"].to_pylist(), memory.filter(arrow)["id"].to_pylist())
    print("  polars", pl.scan_parquet("pyarrow.parquet").filter(polars).collect()["id"].to_list(), pl.from_arrow(memory).filter(polars)["id"].to_list())
PYTHON
diff seen - <<'EXPECTED'
x <> 1.0: ids from the file, ids from memory
  duckdb [] [2]
  duckdb, of its own file [2]
  datafusion [] [2]
  pyarrow [] [2]
  polars [2] [2]
x > 2.0: ids from the file, ids from memory
  duckdb [] [2]
  duckdb, of its own file [2]
  datafusion [] [2]
  pyarrow [] []
  polars [2] [2]
x = 1.0: ids from the file, ids from memory
  duckdb [1, 2, 3] [1, 3]
  duckdb, of its own file [1, 3]
  datafusion [1, 2, 3] [1, 3]
  pyarrow [1, 3] [1, 3]
  polars [1, 3] [1, 3]
EXPECTED
echo "as seen before"
