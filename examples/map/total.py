"""One report of all datasets, made once, at the end: `--report "python3 total.py"`."""

import json
import os
from pathlib import Path

results, output = Path(os.environ["BATCH_INPUT"]), Path(os.environ["BATCH_OUTPUT"])
totals = {}
# Sorted: a folder lists its files in no order.
for path in sorted(results.glob("*/metrics.json")):
    for name, number in json.loads(path.read_text()).items():
        totals[name] = totals.get(name, 0) + number
(output / "metrics.json").write_text(json.dumps(totals))
