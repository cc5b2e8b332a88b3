#!/usr/bin/env bash
# fastparquet writes pandas 3's default times as INT96 a thousand times too early.
#
# pandas 3 keeps times in microseconds by default (datetime64[us]); pandas 1 and 2 kept nanoseconds. fastparquet with
# times="int96", the layout that Spark and Hive wrote for years, stores the number as if it were nanoseconds. The
# file is valid, and pyarrow and fastparquet itself agree on the wrong time: 2018-06-01 becomes 1970-01-18, without a warning. The same
# column cast to datetime64[ns] first is right.
#
# Seen on 2026-11-30 with fastparquet 2026.9.0, pandas 3.1.0, pyarrow 26.0.1, Python 3.11.
# Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.0 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import fastparquet, pandas as pd, pyarrow.parquet as pq
frame = pd.DataFrame({"time": pd.to_datetime(["2018-06-01 00:00:31"])})
print("dtype", frame.time.dtype)
fastparquet.write("default.parquet", frame, times="int96")
print("default", pq.read_table("default.parquet").to_pandas().time[0].date())
print("read back by fastparquet itself", pd.read_parquet("default.parquet", engine="fastparquet").time[0].date())
fastparquet.write("cast.parquet", frame.astype({"time": "datetime64[ns]"}), times="int96")
print("cast to nanoseconds", pq.read_table("cast.parquet").to_pandas().time[0].date())
PYTHON
diff seen - <<'EXPECTED'
dtype datetime64[us]
default 1970-01-18
read back by fastparquet itself 1970-01-18
cast to nanoseconds 2018-06-01
EXPECTED
echo "as seen before"
