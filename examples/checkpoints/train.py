"""A long loop that saves on its way: a preemption costs the steps since the last save, and no more."""

import json
import os
import sys
import time
from pathlib import Path

# In the repository; elsewhere `pip install` it, or copy the one file beside this one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "worker" / "python"))
import batch_item

STEPS = 40
SECONDS = float(os.environ.get("STEP_SECONDS", "0.02"))

before = Path(os.environ["BATCH_PREVIOUS"]) if "BATCH_PREVIOUS" in os.environ else None
saved = batch_item.load()
if saved:
    state = json.loads(saved.read_text())
    print(f"goes on from step {state['step']}")
elif before:
    state = {"step": 0, "sum": json.loads((before / "state.json").read_text())["sum"]}
else:
    state = {"step": 0, "sum": 0}

value = sum(Path(os.environ["BATCH_INPUT"]).read_bytes())
while state["step"] < STEPS:
    time.sleep(SECONDS)
    state = {"step": state["step"] + 1, "sum": (state["sum"] * 31 + value) % 1_000_003}
    batch_item.progress(state["step"] / STEPS)
    preempted = batch_item.preempted()
    if preempted or state["step"] % 10 == 0:
        batch_item.save(json.dumps(state).encode())
    if preempted:
        batch_item.leave()

(Path(os.environ["BATCH_OUTPUT"]) / "state.json").write_text(json.dumps(state))
