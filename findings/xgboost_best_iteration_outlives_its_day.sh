#!/usr/bin/env bash
# XGBoost's scikit-learn model, continued from one that stopped early, predicts without any of the new trees.
#
# Early stopping saves best_iteration in the model. Training that goes on from the file without early stopping, as on
# a full day, keeps the first day's number, and XGBClassifier.predict uses the trees up to it alone. It warns of
# nothing, and the file grows each day. Booster.predict of the same model uses all trees.
#
# Seen on 2026-12-01 with xgboost 3.2.0, scikit-learn 1.9.1, numpy 2.4.6, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps xgboost==3.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import numpy as np
from xgboost import DMatrix, XGBClassifier
noise = np.random.default_rng(1)
def day(sign):
    features = noise.normal(size=(2000, 2))
    return features, (sign * features[:, 0] + noise.normal(size=2000) > 0).astype(int)
(first, first_labels), (held_out, held_out_labels), (second, second_labels) = day(1), day(1), day(-1)
model = XGBClassifier(n_estimators=200, learning_rate=0.5, n_jobs=1, early_stopping_rounds=5)
model.fit(first, first_labels, eval_set=[(held_out, held_out_labels)], verbose=False)
model.save_model("day1.ubj")
before = model.predict_proba(second)
later = XGBClassifier(n_estimators=50, learning_rate=0.5, n_jobs=1)
later.fit(second, second_labels, xgb_model="day1.ubj")
booster = later.get_booster()
def right(fraud):
    return "right" if ((fraud > 0.5) == second_labels).mean() > 0.7 else "wrong"
print("50 trees were added", booster.num_boosted_rounds() - model.get_booster().num_boosted_rounds() == 50)
print("best_iteration is day 1's", booster.attr("best_iteration") == str(model.best_iteration))
print("XGBClassifier predicts as before", bool((later.predict_proba(second) == before).all()), "and", right(later.predict(second)))
print("Booster of the same model is", right(booster.predict(DMatrix(second))))
booster.set_attr(best_iteration=None)
print("XGBClassifier without the attribute is", right(later.predict(second)))
PYTHON
diff seen - <<'EXPECTED'
50 trees were added True
best_iteration is day 1's True
XGBClassifier predicts as before True and wrong
Booster of the same model is right
XGBClassifier without the attribute is right
EXPECTED
echo "as seen before"
