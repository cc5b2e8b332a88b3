#!/usr/bin/env bash
# pandas 3 writes an id that is the index as a Parquet column only on days when the ids are not evenly spaced.
#
# set_index and read_csv(index_col=…) turn evenly spaced integers into a RangeIndex since pandas 3, and to_parquet
# keeps a RangeIndex in the footer alone. polars, DuckDB and pyarrow then see a file without its id; pandas puts it
# back. With one gap in the ids the same code writes the column. to_parquet(index=True), or reset_index, always does.
#
# Seen on 2026-12-01 with pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1, Python 3.11.
# Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import duckdb, pandas as pd, polars as pl, pyarrow.parquet as pq
def columns():
    return pl.read_parquet("day.parquet").columns, duckdb.sql("from 'day.parquet'").columns, pq.read_schema("day.parquet").names
for ids in ([70, 71, 72], [70, 72, 74], [70, 71, 73]):
    day = pd.DataFrame({"id": ids, "amount": [1.0, 2.0, 3.0]}).set_index("id")
    day.to_parquet("day.parquet")
    print(ids, *columns(), "pandas", pd.read_parquet("day.parquet").index.to_list())
open("day.csv", "w").write("id,amount\n70,1\n71,2\n72,3\n")
day = pd.read_csv("day.csv", index_col="id")
day.to_parquet("day.parquet")
print("read_csv", type(day.index).__name__, *columns())
day.to_parquet("day.parquet", index=True)
print("index=True", *columns())
PYTHON
diff seen - <<'EXPECTED'
[70, 71, 72] ['amount'] ['amount'] ['amount'] pandas [70, 71, 72]
[70, 72, 74] ['amount'] ['amount'] ['amount'] pandas [70, 72, 74]
[70, 71, 73] ['amount', 'id'] ['amount', 'id'] ['amount', 'id'] pandas [70, 71, 73]
read_csv RangeIndex ['amount'] ['amount'] ['amount']
index=True ['amount', 'id'] ['amount', 'id'] ['amount', 'id']
EXPECTED
echo "as seen before"
