"""Learns from one day's transactions, and goes on from what the days before taught it."""

import argparse
from pathlib import Path

import joblib
import pandas
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

FEATURES = ["TX_AMOUNT", "TX_TIME_OF_DAY", "TX_WEEKEND"]


def read(path):
    days = pandas.read_pickle(path) if path.suffix == ".pkl" else pandas.read_csv(path)
    time = pandas.to_datetime(days["TX_DATETIME"])
    days["TX_TIME_OF_DAY"] = time.dt.hour * 3600 + time.dt.minute * 60 + time.dt.second
    days["TX_WEEKEND"] = (time.dt.day_of_week >= 5).astype(int)
    return days


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="the folder that the day before was saved to")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.init:
        model = joblib.load(args.init / "model.joblib")
    else:
        model = {"days": [], "scaler": StandardScaler(), "classifier": SGDClassifier(loss="log_loss", random_state=0)}
    day = read(args.data)
    rows, fraud = day[FEATURES].to_numpy(float), day["TX_FRAUD"].to_numpy()
    model["scaler"].partial_fit(rows)
    model["classifier"].partial_fit(model["scaler"].transform(rows), fraud, classes=[0, 1])
    model["days"].append(args.data.stem)
    joblib.dump(model, args.out / "model.joblib")
    print(f"learned from {len(day)} rows of {args.data.name}, {len(model['days'])} days so far")


if __name__ == "__main__":
    main()
