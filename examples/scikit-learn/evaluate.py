"""How well a state tells fraud on the test days: numbers for the report."""

import json
import sys
from pathlib import Path

import joblib
import pandas
from sklearn.metrics import average_precision_score, roc_auc_score

from train import FEATURES, read


def main():
    state, tests, out = map(Path, sys.argv[1:])
    model = joblib.load(state / "model.joblib")
    days = pandas.concat(read(path) for path in sorted(tests.iterdir()))
    scores = model["classifier"].decision_function(model["scaler"].transform(days[FEATURES].to_numpy(float)))
    fraud = days["TX_FRAUD"].to_numpy()
    # Rounded, since the last digits depend on the CPU.
    metrics = {
        "auc_roc": round(float(roc_auc_score(fraud, scores)), 6),
        "average_precision": round(float(average_precision_score(fraud, scores)), 6),
    }
    (out / "metrics.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
