"""The filters of the workload in vectorised numpy: the log-odds that a terminal is compromised, that
a card is misused, and of either. `worker/workloads/src/fraud/suspicion.rs` says what they mean; sums are
taken in another order, so that last bits may differ."""

import numpy as np

DAY = 86_400
DELAY = 7 * DAY
COUNTS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64])
CELLS, CELLS_A_MEDIAN = 24 * 16, 16
CARD_DAYS, CARD_CHANCE, CARD_SHARE = 14, 3 / 5_000, 1 / 3
TERMINAL_DAYS, TERMINAL_CHANCE, REACH_DAYS = 28, 2 / 10_000, 44
NOT_THE_CARDS, NOT_THE_TERMINALS, GENUINE_ALL_THE_SAME = 0.0065, 0.0005, 1e-6


def ratios():
    """The likelihood ratios by number of purchases and amount over median."""
    normal = lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    density = lambda x: normal((x - 1) / 0.5) / 0.5 + np.where(x < 2, 0.0228 / 2, 0)
    mean = np.exp(np.arange(-20, 21) * 0.125)
    amount = ((np.arange(CELLS) + 0.5) / CELLS_A_MEDIAN)[:, None]
    table = []
    for count in COUNTS:
        weight = normal((1 - mean) / (np.sqrt(0.4 / count) * mean)) / mean
        own = (weight * density(amount / mean) / mean).sum(1)
        misused = (weight * density(amount / mean / 5) / mean / 5).sum(1)
        anything = 1e-4 / (1 + amount[:, 0] ** 2)
        table.append((misused + anything) / (own + anything))
    return np.stack(table)


def usual(day, customer, cents):
    """Median of the amounts of the 30 days before each day, and their number, by day and customer."""
    first, customers = day[0], customer.max() + 1
    days = day[-1] - first + 1
    median, count = np.zeros((days, customers), np.int64), np.zeros((days, customers), np.int64)
    key = (customer << 32) + cents
    edges = np.searchsorted(day, np.arange(first - 30, day[-1] + 2))
    for today in range(days):
        some = np.sort(key[edges[today] : edges[today + 30]])
        count[today] = np.bincount(some >> 32, minlength=customers)
        ends = np.cumsum(count[today])
        has = count[today] > 0
        middle = (ends - count[today] + count[today] // 2)[has]
        median[today, has] = np.maximum(some[middle] & 0xFFFFFFFF, 1)
    return median, count


def ratio_of(table, cents, median, count):
    row = np.maximum(np.searchsorted(COUNTS, count, side="right") - 1, 0)
    cell = np.minimum(cents * CELLS_A_MEDIAN // np.maximum(median, 1), CELLS - 1)
    return np.where(count > 0, table[row, cell], 1.0)


def by_card(misused, ratio):
    share = misused * CARD_SHARE
    return share * ratio / (1 - share)


def card_odds(when, day, customer, fraud, ratio):
    """Odds that each purchase is a fraud by misuse of the card."""
    order = np.argsort(customer, kind="stable")
    when, day, customer, fraud, own = when[order], day[order], customer[order], fraud[order] == 1, ratio[order]
    rows = len(when)
    weight, odds, reached = np.ones(rows), np.zeros(rows), np.zeros(rows, np.int64)
    active, back = np.arange(1, rows), 1
    while len(active):
        before = active - back
        lag = day[active] - day[before]
        keep = (customer[active] == customer[before]) & (lag < CARD_DAYS)
        active, before, lag = active[keep], before[keep], lag[keep]
        odds[active] += weight[active] * (lag - reached[active])
        reached[active] = lag
        known = when[before] <= when[active] - DELAY
        misused = CARD_SHARE * own[before]
        factor = np.where(
            known,
            np.where(fraud[before], misused / NOT_THE_CARDS + 1 - CARD_SHARE, 1 - CARD_SHARE),
            misused + 1 - CARD_SHARE,
        )
        weight[active] = np.minimum(weight[active] * factor, 1e30)
        back += 1
        active = active[active >= back]
    odds = (odds + weight * (CARD_DAYS - reached)) * CARD_CHANCE
    found = np.empty(rows)
    found[order] = by_card(odds / (1 + odds), own)
    return found


def terminal_chances(when, day, customer, terminal, cents, fraud, usual_of, table):
    """Chances that the terminal of each purchase is compromised, and that it is not."""
    order = np.argsort(terminal, kind="stable")
    key = (terminal[order] << 34) + when[order]
    known, begin = np.empty(len(when), np.int64), np.empty(len(when), np.int64)
    known[order] = np.searchsorted(key, key - DELAY, side="right")
    since = (terminal << 34) + (day - REACH_DAYS + 1) * DAY
    begin = np.searchsorted(key, since)
    frauds = np.concatenate([[0], np.cumsum(fraud[order])])
    first = np.searchsorted(key, terminal << 34)
    days = np.full(len(when), TERMINAL_DAYS)
    seen = known > first
    days[seen] = np.clip(day[seen] - day[order[known[seen] - 1]], 0, TERMINAL_DAYS)
    no = (1 - TERMINAL_CHANCE) ** days
    yes = 1 - no
    some = np.flatnonzero(frauds[np.maximum(known, begin)] > frauds[begin])
    genuine, sound = np.zeros((REACH_DAYS, len(some))), np.ones((REACH_DAYS, len(some)))
    active, back = np.arange(len(some)), 1
    while len(active):
        at = known[some[active]] - back
        keep = at >= begin[some[active]]
        active, at = active[keep], order[at[keep]]
        lag = day[some[active]] - day[at]
        is_fraud = fraud[at] == 1
        genuine[lag, active] += ~is_fraud
        active_f, at_f, lag_f = active[is_fraud], at[is_fraud], lag[is_fraud]
        median, count = usual_of(day[some[active_f]], customer[at_f])
        odds = by_card(CARD_CHANCE * CARD_DAYS, ratio_of(table, cents[at_f], median, count))
        sound[lag_f, active_f] *= np.maximum(odds / (1 + odds), NOT_THE_TERMINALS)
        back += 1
    stay = 1 - TERMINAL_CHANCE
    compromised = np.repeat(TERMINAL_CHANCE * stay ** np.arange(TERMINAL_DAYS)[:, None], len(some), 1)
    healthy = 1 - compromised.sum(0)
    for lag in range(REACH_DAYS - 1, -1, -1):
        over = compromised[-1].copy()
        compromised[1:] = compromised[:-1] * stay
        compromised[0] = TERMINAL_CHANCE
        healthy = (healthy + over) * stay
        unlikely = genuine[lag] > 0
        compromised[:, unlikely] *= GENUINE_ALL_THE_SAME ** genuine[lag, unlikely]
        healthy *= sound[lag]
        total = healthy + compromised.sum(0)
        compromised /= total
        healthy /= total
    yes[some], no[some] = compromised.sum(0), healthy
    return yes, no


def usual_by_day(day, customer, cents):
    """What was usual, to be asked for by days and customers."""
    median, count = usual(day, customer, cents)
    return lambda day_of, customer: (median[day_of - day[0], customer], count[day_of - day[0], customer])


def features(when, customer, terminal, cents, fraud, day, usual_of):
    """Amount and the three log-odds."""
    table = ratios()
    ratio = ratio_of(table, cents, *usual_of(day, customer))
    by_terminal = terminal_chances(when, day, customer, terminal, cents, fraud, usual_of, table)
    odds = card_odds(when, day, customer, fraud, ratio)
    card = odds / (1 + odds), 1 / (1 + odds)
    either = by_terminal[0] + card[0] * by_terminal[1], by_terminal[1] * card[1]
    log_odds = lambda chance: np.log(chance[0] / chance[1])
    return [cents / 100, log_odds(by_terminal), log_odds(card), log_odds(either)]
