#!/usr/bin/env bash
# pyarrow cannot open a Parquet file in which polars has written one Int128 column.
#
# polars writes its 128-bit integers to Parquet and reads them back. pyarrow refuses the whole file while it reads the
# schema, also where only another column is asked for: one such column hides all others.
#
# Seen on 2026-11-30 with polars 2.1.0, pyarrow 26.0.1, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import polars as pl, pyarrow.parquet as pq
pl.DataFrame({"id": [1, 2], "sum": pl.Series([3, 4], dtype=pl.Int128)}).write_parquet("wide.parquet")
print("polars", pl.read_parquet("wide.parquet")["sum"].to_list())
try:
    print("pyarrow", pq.read_table("wide.parquet", columns=["id"])["id"].to_pylist())
except Exception as error:
    print("pyarrow, of the other column:", type(error).__name__, str(error).splitlines()[0][:80])
PYTHON
diff seen - <<'EXPECTED'
polars [3, 4]
pyarrow, of the other column: ArrowNotImplementedError Integers with more than 64 bits not implemented
EXPECTED
echo "as seen before"
