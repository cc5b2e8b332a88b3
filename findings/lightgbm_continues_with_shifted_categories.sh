#!/usr/bin/env bash
# LightGBM, continued on a day that lacks one category, gives the old trees other categories: all right becomes all wrong.
#
# A pandas category is passed to LightGBM as its code, and the model holds the list of categories. lgb.train with
# init_model takes the new day's list in place of the model's and leaves the old trees as they are, so that day 1's
# code of B now means C. No warning, from a file or from memory. With the model's categories set on the new day first
# nothing shifts. predict, unlike train, does look the categories up in the model. XGBoost refuses such a day.
#
# Seen on 2026-12-01 with lightgbm 4.7.0, pandas 3.1.1, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lightgbm==4.7.0 pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import lightgbm as lgb, pandas as pd
options = dict(objective="binary", verbose=-1, num_threads=1, deterministic=True, seed=1)
def day(kinds):
    frame = pd.DataFrame({"kind": pd.Categorical(list(kinds) * 500)})
    return frame, frame["kind"].isin(["B", "D"]).astype(int)
(first, first_labels), (second, second_labels) = day("ABCD"), day("BCD")
def right(model):
    return float(((model.predict(second) > 0.5) == second_labels).mean())
model = lgb.train(options, lgb.Dataset(first, first_labels), 20)
model.save_model("day1.txt")
print("day 1's model on day 2", model.pandas_categorical, right(model))
for start in ("day1.txt", model):
    later = lgb.train(options, lgb.Dataset(second, second_labels), 1, init_model=start)
    print("one more tree, from", type(start).__name__, later.pandas_categorical, right(later))
same = second.assign(kind=second["kind"].cat.set_categories(["A", "B", "C", "D"]))
print("with day 1's categories", right(lgb.train(options, lgb.Dataset(same, second_labels), 1, init_model=model)))
PYTHON
diff seen - <<'EXPECTED'
day 1's model on day 2 [['A', 'B', 'C', 'D']] 1.0
one more tree, from str [['B', 'C', 'D']] 0.0
one more tree, from Booster [['B', 'C', 'D']] 0.0
with day 1's categories 1.0
EXPECTED
echo "as seen before"
