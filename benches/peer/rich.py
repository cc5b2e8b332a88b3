"""The features of the workload's default set that learn from data, in vectorised numpy.
`worker/src/workload/fraud/rich.rs` says what they mean; here all rows of all days are at hand at once."""

import numpy as np

DAY = 86_400
DELAY = 7 * DAY
NONE, NONE_Z, LOWEST_Z, BIG = -1.0, -9.0, -8.0, 3
SQUARED_CENTS_MAX = 1 << 20
LEVELS = np.array([0.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0])

NAMES = (
    "amount terminal_risk_7d amount_over_usual amount_z big_3d big_7d big_14d big_first_age usual_amount "
    "terminal_run_length terminal_run_age terminal_genuine_age customer_frauds_14d over_usual_x_big_7d "
    "over_usual_x_small_frauds small_frauds_x_first_age"
).split()

# Numbers of the crossed features' cells.
CELLS = {"over_usual_x_big_7d": 45, "over_usual_x_small_frauds": 36, "small_frauds_x_first_age": 56}

# What a feature has where nothing is known.
ABSENT = {"amount_over_usual": NONE, "amount_z": NONE_Z, "big_first_age": NONE}
ABSENT |= {"terminal_run_age": NONE, "terminal_genuine_age": NONE}


class Sorted:
    """Rows by entity, then time: a window's edge is a search among keys that grow."""

    def __init__(self, entity, when):
        self.order = np.argsort(entity, kind="stable")
        self.entity, self.when = entity[self.order], when[self.order]
        self.key = (self.entity << 34) + self.when

    def after(self, seconds):
        """Of each row, the first of its entity that is after so many seconds before it."""
        return np.searchsorted(self.key, self.key - seconds, side="right")

    def back(self, values):
        """In the order of the rows as they came."""
        found = np.empty(len(values), values.dtype)
        found[self.order] = values
        return found


def sums(values):
    return np.concatenate([[0], np.cumsum(values)])


def is_big(cents, median, count):
    return (count > 0) & (cents > BIG * median)


def spending(cards, cents, fraud, median, count):
    """By card: the amount's z-score, numbers of big purchases, the age of the first, known frauds."""
    rows, cents = np.arange(len(cents)), cents[cards.order]
    squares = np.minimum(cents, SQUARED_CENTS_MAX) ** 2
    first = cards.after(30 * DAY)
    others = rows - first
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (lambda total: total[rows] - total[first])(sums(cents)) / others
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
    known = sums(fraud[cards.order])
    frauds = known[cards.after(DELAY)] - known[cards.after(DELAY + 14 * DAY)]
    return [cards.back(values) for values in (z, *counts, first_age, frauds)]


def visits(terminals, fraud):
    """By terminal: the share of frauds among the known visits of seven days; length and age of the run
    of frauds that ends those of 30, and the age of the last genuine one."""
    fraud, when = fraud[terminals.order] == 1, terminals.when
    known, week, oldest = (terminals.after(DELAY + days * DAY) for days in (0, 7, 30))
    total = sums(fraud)
    visits = known - week
    risk = np.divide(total[known] - total[week], visits, out=np.zeros(len(when)), where=visits > 0)
    last = known - 1
    last_genuine = np.maximum.accumulate(np.where(fraud, -1, np.arange(len(when))))[last]
    begin = np.maximum(last_genuine + 1, oldest)
    run = np.maximum(known - begin, 0)
    run_age = np.where(run > 0, (when - when[np.minimum(begin, len(when) - 1)]) / DAY, NONE)
    has_genuine = (known > oldest) & (last_genuine >= oldest)
    genuine_age = np.where(has_genuine, (when - when[last_genuine]) / DAY, NONE)
    return [terminals.back(values) for values in (risk, run, run_age, genuine_age)]


def small_frauds(terminals, customer, cents, fraud, day, usual_of):
    """By terminal: number of its known frauds of 28 days that were not big, and the age of the first."""
    is_fraud = fraud[terminals.order] == 1
    total = sums(is_fraud)
    first, end = total[terminals.after(DELAY + 28 * DAY)], total[terminals.after(DELAY)]
    row = np.repeat(np.arange(len(first)), end - first)
    of_row = np.arange(len(row)) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
    place = np.flatnonzero(is_fraud)[first[row] + of_row]
    at = terminals.order[place]
    small = ~is_big(cents[at], *usual_of(day[terminals.order[row]], customer[at]))
    row, age = row[small], (terminals.when[row] - terminals.when[place])[small] / DAY
    ages = np.zeros(len(first))
    np.maximum.at(ages, row, age)
    return terminals.back(np.bincount(row, minlength=len(first))), terminals.back(ages)


def features(when, customer, terminal, cents, fraud, day, usual_of):
    """In the order of NAMES."""
    median, count = usual_of(day, customer)
    cards, terminals = Sorted(customer, when), Sorted(terminal, when)
    z, big_3d, big_7d, big_14d, first_age, frauds_14d = spending(cards, cents, fraud, median, count)
    risk, run, run_age, genuine_age = visits(terminals, fraud)
    small, small_age = small_frauds(terminals, customer, cents, fraud, day, usual_of)
    over = np.where(count > 0, cents / np.maximum(median, 1), NONE)
    level = np.searchsorted(LEVELS, over, side="right")
    fours = np.clip(small_age / 4 - 1, 0, 7).astype(np.int64)
    known = lambda values: np.where(count > 0, values, NONE)
    return [
        *(cents / 100, risk, over, z, known(big_3d), known(big_7d), known(big_14d), first_age),
        *(np.where(count > 0, median / 100, 0), run, run_age, genuine_age, frauds_14d),
        *(level * 5 + np.minimum(big_7d, 4), level * 4 + np.minimum(small, 3), np.minimum(small, 6) * 8 + fours),
    ]


def edges(name, values, quantiles):
    """Edges of a feature's bins from some rows, as `edges.rs` says."""
    if name in CELLS:
        return np.arange(CELLS[name] - 1) + 0.5
    values = np.asarray(values, float)
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
