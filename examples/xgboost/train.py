"""Adds trees for one day's transactions to the model of the days before."""

import argparse
from pathlib import Path

import pandas
import xgboost

FEATURES = ["TX_AMOUNT", "TX_TIME_SECONDS", "CUSTOMER_ID", "TERMINAL_ID"]
TREES = 3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="the model of the day before")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    day = pandas.read_pickle(args.data) if args.data.suffix == ".pkl" else pandas.read_csv(args.data)
    rows = xgboost.DMatrix(day[FEATURES].astype(float), day["TX_FRAUD"])
    # Rows are drawn by the seed: without one for each day, the same places would be drawn every day.
    parameters = {"objective": "binary:logistic", "max_depth": 3, "subsample": 0.8, "seed": args.seed, "nthread": 1}
    model = xgboost.train(parameters, rows, TREES, xgb_model=args.init and str(args.init))
    model.save_model(args.out)
    print(f"{model.num_boosted_rounds()} trees after {args.data.name}")


if __name__ == "__main__":
    main()
