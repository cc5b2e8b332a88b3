"""The features that learn from data, in vectorised numpy: those of the workload's default set, and the
others of `rich`. `worker/workloads/src/fraud/rich.rs` says what they mean; here all rows of all days are at
hand at once."""

from functools import cache, cached_property

import numpy as np

DAY = 86_400
DELAY = 7 * DAY
NONE, NONE_Z, LOWEST_Z, BIG = -1.0, -9.0, -8.0, 3
SQUARED_CENTS_MAX = 1 << 20
LEVELS = np.array([0.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0])

# Features of the default set, and features that `rich` adds to the handbook's.
HELPFUL = (
    "amount terminal_risk_7d amount_over_usual amount_z big_3d big_7d big_14d big_first_age usual_amount "
    "terminal_run_length terminal_run_age terminal_genuine_age customer_frauds_14d over_usual_x_big_7d "
    "over_usual_x_small_frauds small_frauds_x_first_age"
).split()
BESIDE_HANDBOOK = (
    "amount_over_usual amount_z big_3d big_7d big_14d big_first_age usual_amount mean_3d_over_30d "
    "terminal_frauds_21d terminal_frauds_28d terminal_small_frauds_28d terminal_run_length terminal_run_age "
    "terminal_genuine_since_fraud terminal_genuine_age customer_frauds_7d customer_frauds_14d "
    "customer_frauds_28d customer_big_fraud_last_age customer_big_fraud_first_age over_usual_x_big_7d "
    "over_usual_x_big_14d over_usual_x_small_frauds small_frauds_x_first_age big_3d_x_big_14d"
).split()

# Numbers of the crossed features' cells.
CELLS = {"over_usual_x_big_7d": 45, "over_usual_x_small_frauds": 36, "small_frauds_x_first_age": 56}
CELLS |= {"over_usual_x_big_14d": 63, "big_3d_x_big_14d": 35}

# What a feature has where nothing is known.
ABSENT = {"amount_over_usual": NONE, "amount_z": NONE_Z, "big_first_age": NONE}
ABSENT |= {"terminal_run_age": NONE, "terminal_genuine_age": NONE, "terminal_genuine_since_fraud": NONE}
ABSENT |= {"customer_big_fraud_last_age": NONE, "customer_big_fraud_first_age": NONE}


class Sorted:
    """Rows by entity, then time: a window's edge is a search among keys that grow. What is asked for more
    than once is kept."""

    def __init__(self, entity, when, cents=None, fraud=None):
        self.order = np.argsort(entity, kind="stable")
        self.entity, self.when = entity[self.order], when[self.order]
        self.key = (self.entity << 34) + self.when
        self.columns, self.edges, self.known = (cents, fraud), {}, {}

    @cached_property
    def cents(self):
        return self.columns[0][self.order]

    @cached_property
    def is_fraud(self):
        return self.columns[1][self.order] == 1

    @cached_property
    def spent(self):
        """Cents before each row, and in all."""
        return sums(self.cents)

    @cached_property
    def frauds(self):
        """Their number before each row, and in all."""
        return sums(self.is_fraud)

    def after(self, seconds):
        """Of each row, the first of its entity that is later than `seconds` before it."""
        if seconds not in self.edges:
            self.edges[seconds] = np.searchsorted(self.key, self.key - seconds, side="right")
        return self.edges[seconds]

    def known_frauds(self, reach):
        """Of each row, how many frauds of its entity are known that are not older than `reach` seconds."""
        if reach not in self.known:
            self.known[reach] = self.frauds[self.after(DELAY)] - self.frauds[self.after(reach)]
        return self.known[reach]

    def each_known_fraud(self, reach):
        """The same one by one, oldest first: the row's place and the fraud's."""
        count = self.known_frauds(reach)
        row = np.repeat(np.arange(len(count)), count)
        of_row = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        return row, np.flatnonzero(self.is_fraud)[self.frauds[self.after(reach)][row] + of_row]

    def back(self, values):
        """In the order of the rows as they came."""
        found = np.empty(len(values), values.dtype)
        found[self.order] = values
        return found


def sums(values):
    return np.concatenate([[0], np.cumsum(values)])


def is_big(cents, median, count):
    return (count > 0) & (cents > BIG * median)


def spending(cards, median, count):
    """By card: the amount's z-score, numbers of big purchases, the age of the first."""
    rows, cents, total = np.arange(len(cards.order)), cards.cents, cards.spent
    squares = np.minimum(cents, SQUARED_CENTS_MAX) ** 2
    first = cards.after(30 * DAY)
    others = rows - first
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (total[rows] - total[first]) / others
        square = (lambda total: total[rows] - total[first])(sums(squares)) / others
        z = (cents - mean) / (np.sqrt(np.maximum(square - mean * mean, 0.0)) + 100.0)
    z = np.where(others >= 2, np.maximum(z, LOWEST_Z), NONE_Z)
    big = is_big(cents, median[cards.order], count[cards.order])
    before, counts = sums(big), []
    for days in (3, 7, 14):
        first = np.searchsorted(cards.key, (cards.entity << 34) + (cards.when // DAY - days + 1) * DAY)
        counts.append(before[rows] - before[first])
    times = np.append(cards.when[big], 0)
    first_age = np.where(counts[2] > 0, (cards.when - times[before[first]]) / DAY, NONE)
    return [cards.back(values) for values in (z, *counts, first_age)]


def mean_over_month(cards):
    """By card: the mean of three days over that of thirty, the row itself in both."""
    month, days = (
        (cards.spent[1:] - cards.spent[first]) / (np.arange(len(first)) + 1 - first)
        for first in (cards.after(30 * DAY), cards.after(3 * DAY))
    )
    return np.divide(days, month, out=np.zeros(len(month)), where=month > 0)


def big_fraud_ages(cards, median, count):
    """By card: ages of the last and of the first of its known frauds of the last 21 days that was big."""
    row, place = cards.each_known_fraud(21 * DAY)
    at = cards.order[row]
    big = is_big(cards.cents[place], median[at], count[at])
    row, place = row[big], place[big]
    age, last, first = (cards.when[row] - cards.when[place]) / DAY, *np.full((2, len(cards.order)), NONE)
    # Of several to a row, the one that is written last stays.
    last[row], first[row[::-1]] = age, age[::-1]
    return cards.back(last), cards.back(first)


def risk(terminals):
    """By terminal: the share of frauds among the known visits of seven days."""
    visits = terminals.after(DELAY) - terminals.after(DELAY + 7 * DAY)
    frauds = terminals.known_frauds(DELAY + 7 * DAY)
    return np.divide(frauds, visits, out=np.zeros(len(visits)), where=visits > 0)


def visits(terminals):
    """By terminal: length and age of the run of frauds that ends the known visits of 30 days, and the age
    of the last genuine one."""
    fraud, when = terminals.is_fraud, terminals.when
    known, oldest = terminals.after(DELAY), terminals.after(DELAY + 30 * DAY)
    last_genuine = np.maximum.accumulate(np.where(fraud, -1, np.arange(len(when))))[known - 1]
    begin = np.maximum(last_genuine + 1, oldest)
    run = np.maximum(known - begin, 0)
    run_age = np.where(run > 0, (when - when[np.minimum(begin, len(when) - 1)]) / DAY, NONE)
    has_genuine = (known > oldest) & (last_genuine >= oldest)
    genuine_age = np.where(has_genuine, (when - when[last_genuine]) / DAY, NONE)
    return [terminals.back(values) for values in (run, run_age, genuine_age)]


def genuine_since_fraud(terminals):
    """By terminal: number of the known genuine visits since the last known fraud of 30 days."""
    known, frauds = terminals.after(DELAY), terminals.frauds
    last_fraud = np.append(np.flatnonzero(terminals.is_fraud), 0)[frauds[known] - 1]
    return np.where(terminals.known_frauds(DELAY + 30 * DAY) > 0, known - 1 - last_fraud, NONE)


def small_frauds(terminals, customer, cents, day, usual_of):
    """By terminal: number of its known frauds of 28 days that were not big, and the age of the first."""
    row, place = terminals.each_known_fraud(DELAY + 28 * DAY)
    at = terminals.order[place]
    small = ~is_big(cents[at], *usual_of(day[terminals.order[row]], customer[at]))
    row, age = row[small], (terminals.when[row] - terminals.when[place])[small] / DAY
    ages = np.zeros(len(terminals.order))
    np.maximum.at(ages, row, age)
    return terminals.back(np.bincount(row, minlength=len(ages))), terminals.back(ages)


def features(names, cards, terminals, customer, cents, day, usual_of):
    """Those of some names; what only others need is not computed."""
    median, count = usual_of(day, customer)
    z, big_3d, big_7d, big_14d, first_age = spending(cards, median, count)
    run, run_age, genuine_age = visits(terminals)
    small, small_age = small_frauds(terminals, customer, cents, day, usual_of)
    over = np.where(count > 0, cents / np.maximum(median, 1), NONE)
    level = np.searchsorted(LEVELS, over, side="right")
    fours = np.clip(small_age / 4 - 1, 0, 7).astype(np.int64)
    known = lambda values: np.where(count > 0, values, NONE)
    frauds = lambda entity, days: entity.back(entity.known_frauds(DELAY + days * DAY))
    card_ages = cache(lambda: big_fraud_ages(cards, median, count))
    columns = {
        "amount": lambda: cents / 100,
        "terminal_risk_7d": lambda: terminals.back(risk(terminals)),
        "amount_over_usual": lambda: over,
        "amount_z": lambda: z,
        "big_3d": lambda: known(big_3d),
        "big_7d": lambda: known(big_7d),
        "big_14d": lambda: known(big_14d),
        "big_first_age": lambda: first_age,
        "usual_amount": lambda: np.where(count > 0, median / 100, 0),
        "mean_3d_over_30d": lambda: cards.back(mean_over_month(cards)),
        "terminal_frauds_21d": lambda: frauds(terminals, 21),
        "terminal_frauds_28d": lambda: frauds(terminals, 28),
        "terminal_small_frauds_28d": lambda: small,
        "terminal_run_length": lambda: run,
        "terminal_run_age": lambda: run_age,
        "terminal_genuine_since_fraud": lambda: terminals.back(genuine_since_fraud(terminals)),
        "terminal_genuine_age": lambda: genuine_age,
        "customer_frauds_7d": lambda: frauds(cards, 7),
        "customer_frauds_14d": lambda: frauds(cards, 14),
        "customer_frauds_28d": lambda: frauds(cards, 28),
        "customer_big_fraud_last_age": lambda: card_ages()[0],
        "customer_big_fraud_first_age": lambda: card_ages()[1],
        "over_usual_x_big_7d": lambda: level * 5 + np.minimum(big_7d, 4),
        "over_usual_x_big_14d": lambda: level * 7 + np.minimum(big_14d, 6),
        "over_usual_x_small_frauds": lambda: level * 4 + np.minimum(small, 3),
        "small_frauds_x_first_age": lambda: np.minimum(small, 6) * 8 + fours,
        "big_3d_x_big_14d": lambda: np.minimum(big_3d, 4) * 7 + np.minimum(big_14d, 6),
    }
    return [columns[name]() for name in names]


def edges(name, values, quantiles):
    """Edges of a feature's bins from some rows, as `edges.rs` says."""
    if name in CELLS:
        return np.arange(CELLS[name] - 1) + 0.5
    values = np.asarray(values, float)
    if name == "terminal_risk_30d":
        # A share, of which 0.5 would part little: as in the program's first version.
        return np.unique(np.round(np.quantile(values, quantiles), 4))
    distinct = np.unique(values)
    if len(distinct) <= 30:
        return np.round((distinct[1:] + distinct[:-1]) / 2, 4)
    least, part = distinct[0], None
    if name in ABSENT:
        part = ABSENT[name] + 1
        values = values[values > ABSENT[name]]
    elif (values == least).mean() > 0.5:
        part, values = 0.5, values[values > least]
    found = np.round(np.quantile(values, quantiles), 4)
    return np.unique(found if part is None else np.append(found, part))
