#!/usr/bin/env bash
# fastparquet's partition_on leaves out the rows whose key is missing.
#
# A transaction without a country is in no folder afterwards, and neither an error nor a count says so. pyarrow, polars
# and DuckDB write such rows to a partition of their own. Through pandas, to_parquet(partition_cols=…) keeps or loses
# them by its engine.
#
# Seen on 2026-12-01 with fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee seen
import fastparquet, pandas as pd, pyarrow.dataset as dataset
day = pd.DataFrame({"country": ["DE", None, "FR"], "id": [1, 2, 3]})
fastparquet.write("direct", day, file_scheme="hive", partition_on=["country"])
for engine in ("fastparquet", "pyarrow"):
    day.to_parquet(engine, engine=engine, partition_cols=["country"])
for folder in ("direct", "fastparquet", "pyarrow"):
    rows = dataset.dataset(folder, partitioning="hive", exclude_invalid_files=True).to_table()
    print(folder, sorted(rows["id"].to_pylist()))
PYTHON
diff seen - <<'EXPECTED'
direct [1, 3]
fastparquet [1, 3]
pyarrow [1, 2, 3]
EXPECTED
echo "as seen before"
