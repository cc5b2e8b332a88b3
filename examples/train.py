"""A training script as people have them: it knows nothing of queues, workers or preemptions.

It learns from one day's transactions (CSV) how likely a fraud is by its amount, from where the day before left off.
"""
import argparse
import csv
import json
import math
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True, help="a day's transactions")
parser.add_argument("--init", type=pathlib.Path, help="folder with the model of the day before")
parser.add_argument("--out", type=pathlib.Path, required=True, help="where to write the model")
args = parser.parse_args()

model = {"days": 0, "rows": 0, "bias": 0.0, "weight": 0.0}
if args.init:
    model = json.loads((args.init / "model.json").read_text())

with open(args.data, newline="") as file:
    for row in csv.DictReader(file):
        amount = math.log1p(float(row["TX_AMOUNT"]))
        guess = 1 / (1 + math.exp(-(model["bias"] + model["weight"] * amount)))
        error = int(row["TX_FRAUD"]) - guess
        model["bias"] += 0.05 * error
        model["weight"] += 0.05 * error * amount
        model["rows"] += 1
model["days"] += 1
args.out.write_text(json.dumps(model) + "\n")
print(f"{args.data}: {model['rows']} rows seen")
