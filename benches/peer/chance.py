"""How much of a test week's AUC is chance: where the frauds rank that nobody can foresee, and how often the
week would reach an AUC with these ranks redrawn. One line of JSON.

    python benches/peer/chance.py [--worker target/release/worker] [--data ../shared/data] [--features blend]

A rank is the share of the week's genuine rows with a lower score, so that the AUC is the frauds' mean rank.
A fraud is unforeseeable if it is by a compromised terminal (scenario 2) and no fraud of the run that the
terminal has had since its last genuine purchase has a known label, seven days late. The weeks are those of
docs/model-internals.md: the handbook's, and the nine that the model was chosen on.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rich import DAY, DELAY, Sorted

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import run

# Days from 2018-04-01 on which the chain ends; a week's test begins eight days later.
NINE = [53, 60, 67, 74, 81, 88, 95, 102, 107]
AUGUST = 121
AIM = 0.905
DRAWS = 100_000


def read(files):
    """All rows by time and id."""
    names = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_FRAUD", "TX_FRAUD_SCENARIO"]
    days = [pq.read_table(file, columns=names) for file in files]
    number, when, *others = (np.concatenate([day[name].to_numpy() for day in days]) for name in names)
    when = when.astype("datetime64[s]").astype(np.int64)
    order = np.lexsort((number, when))
    return [column[order] for column in (number, when, *others)]


def look_at_terminals(when, terminal, fraud, scenario):
    """Of each row: is it unforeseeable, and days since the terminal's last known genuine purchase, 28 at most."""
    rows = Sorted(terminal, when)
    first, known = np.searchsorted(rows.entity, rows.entity), rows.after(DELAY)
    is_fraud, today = fraud[rows.order] == 1, rows.when // DAY
    last_genuine = np.maximum.accumulate(np.where(is_fraud, -1, np.arange(len(when))))
    begin = np.maximum(last_genuine + 1, first)
    unforeseeable = (scenario[rows.order] == 2) & (begin >= known)
    seen = last_genuine[np.maximum(known - 1, 0)]
    age = np.where((known > first) & (seen >= first), np.minimum(today - today[seen], 28), 28)
    return rows.back(unforeseeable), rows.back(age)


def unknown_cards(day, customer, fraud, end):
    """The rows of a test week without the cards that are known to be misused."""
    is_known = np.zeros(customer.max() + 1, bool)
    is_known[customer[(day >= end - 6) & (day <= end) & (fraud == 1)]] = True
    kept = []
    for today in range(end + 8, end + 15):
        if today > end + 8:
            is_known[customer[(day == today - 8) & (fraud == 1)]] = True
        rows = np.flatnonzero(day == today)
        kept.append(rows[~is_known[customer[rows]]])
    return np.concatenate(kept)


def scores(bench, features, files):
    """By week, the scores of its days' rows: a chain over 122 days, and `worker score` with the week's model."""
    with bench.handbook(bench.volume(), "2018-04-01", "2018-07-31") as volume:
        run.seconds(lambda: [volume.start("--param", f"features={features}", name=f"w{k}") for k in range(2)])
        out = volume.folder / "scores.parquet"
        for end in [*NINE, AUGUST]:
            score = [*bench.worker, "score", "--history", files[0].parent, "--out", out]
            score += ["--checkpoint", volume.folder / f"output/model_cpt_{files[end].stem}.ftrl"]
            found = []
            for file in files[end + 8 : end + 15]:
                subprocess.run([*score, file], check=True, stdout=subprocess.DEVNULL)
                found.append([pq.read_table(out)[name].to_numpy() for name in ("TRANSACTION_ID", "FRAUD_LOG_ODDS")])
            number, log_odds = (np.concatenate(columns) for columns in zip(*found))
            order = np.argsort(number)
            yield end, number[order], log_odds[order]


def ranks(genuine, some):
    """Shares of the genuine that are lower, a tie counting half."""
    genuine = np.sort(genuine)
    return (np.searchsorted(genuine, some) + np.searchsorted(genuine, some, side="right")) / 2 / len(genuine)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent.parent
    default = Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/worker"
    arguments.add_argument("--worker", default=str(default))
    arguments.add_argument("--data", default=os.environ.get("FRAUD_DATA", str(root.parent / "shared/data")))
    arguments.add_argument("--features", default="blend")
    arguments = arguments.parse_args()
    known = {"worker": arguments.worker, "data": arguments.data, "features": arguments.features}
    bench = run.Bench(argparse.Namespace(**known, repeats=1, days=None))
    files = sorted(bench.needs("handbook").glob("*.parquet"))
    number, when, customer, terminal, fraud, scenario = read(files)
    unforeseeable, age = look_at_terminals(when, terminal, fraud, scenario)
    day = when // DAY - when[0] // DAY

    weeks = {}
    for end, scored, log_odds in scores(bench, arguments.features, files):
        rows = unknown_cards(day, customer, fraud, end)
        genuine, frauds = rows[fraud[rows] == 0], rows[fraud[rows] == 1]
        score_of = lambda some: log_odds[np.searchsorted(scored, number[some])]
        of_all, nobody = ranks(score_of(genuine), score_of(frauds)), unforeseeable[frauds]
        by_age = ranks(age[genuine], age[frauds[nobody]])
        weeks[end] = len(rows), of_all[nobody], of_all[~nobody], by_age
    count, drawn, others, _ = weeks[AUGUST]
    frauds = len(drawn) + len(others)
    assert (count, frauds) == (58_264, 385), f"another test week: {count} rows, {frauds} frauds"

    def mean_ranks(some):
        names = "unforeseeable", "others", "unforeseeable_by_genuine_age_alone"
        columns = zip(*(weeks[end][1:] for end in some))
        return {name: round(float(np.mean([week.mean() for week in of])), 4) for name, of in zip(names, columns)}

    random = np.random.default_rng(0)
    pool = np.concatenate([weeks[end][1] for end in NINE])

    def auc(draw):
        found = np.array([(others.sum() + draw(len(drawn)).sum()) / frauds for _ in range(DRAWS)])
        reached = float(np.mean(found >= AIM))
        return {"mean": round(found.mean(), 4), "sd": round(found.std(), 4), f"share_of_{AIM}": round(reached, 3)}

    week_means = [weeks[end][1].mean() for end in NINE]
    print(json.dumps({
        "features": arguments.features,
        "unforeseeable": len(drawn),
        "unforeseeable_of_the_nine": len(pool),
        "auc": round(float((others.sum() + drawn.sum()) / frauds), 4),
        "auc_with_all_others_at_1": round(float((len(others) + drawn.sum()) / frauds), 4),
        "mean_rank": mean_ranks([AUGUST]),
        "mean_rank_of_the_nine": mean_ranks(NINE),
        "sd_of_the_nine_unforeseeable": round(float(np.std(week_means, ddof=1)), 4),
        f"mean_rank_for_{AIM}": round(float((AIM * frauds - others.sum()) / len(drawn)), 4),
        "auc_if_uniform": auc(random.random),
        "auc_if_as_on_the_nine": auc(lambda size: random.choice(pool, size)),
    }))


if __name__ == "__main__":
    main()
