//! Workers and datasets of a run as tables, for people.

use super::table::{ago, for_a_time, last_chars, table};
use super::watched::Moment;
use crate::reader::overview::{DatasetRow, DatasetState, WorkerRow, WorkerState};
use crate::reader::state::State;

/// Rows of a table that are shown where not all are asked for.
pub(crate) const ROWS_MAX: usize = 20;
/// Letters of a path, and of a worker's name, that fit in a line.
const PATH_CHARS: usize = 32;
const NAME_CHARS: usize = 14;

/// The workers of a run that is under way; with `all`, also the workers that have ended.
pub(crate) fn workers(moment: &Moment, all: bool, rows_max: usize) -> String {
    let shown = |row: &&WorkerRow| all || !moment.state.has_ended() && row.state != WorkerState::Ended;
    let rows: Vec<&WorkerRow> = moment.workers.iter().filter(shown).collect();
    let line = |row: &&WorkerRow| {
        let life = &row.life;
        let (held, since) = life.holds.as_ref().map_or_else(Default::default, |held| {
            let progress = held.progress.map_or_else(String::new, |(done, of)| format!(" {done}/{of}"));
            (format!("{}{progress}", held.item), for_a_time(moment.at_ms.saturating_sub(held.since_ms)))
        });
        let ended = life.ended.as_ref().map(|(code, _)| format!("{} ({code})", row.state.words()));
        [
            last_chars(&life.worker, NAME_CHARS),
            ended.unwrap_or_else(|| row.state.words().to_owned()),
            held,
            since,
            ago(moment.at_ms, life.last_ms),
        ]
    };
    let lines: Vec<_> = rows.iter().take(rows_max).map(line).collect();
    let mut text = part(["WORKER", "STATE", "HOLDS", "FOR", "LAST EVENT"], &lines, &[3], rows.len());
    if rows.iter().any(|row| row.state == WorkerState::IdleOrGone) {
        text += "A worker that waits for work notes nothing, and neither does a machine that is gone.\n";
    }
    for row in rows.iter().take(lines.len()) {
        let why = row.life.waits.as_ref().filter(|_| row.life.ended.is_none());
        text += &why.map_or_else(String::new, |why| {
            format!("{} waits: {}\n", row.life.worker, why.lines().next().unwrap_or_default())
        });
    }
    text
}

/// The datasets that are not done, and the rejected ones; with `all`, every one.
pub(crate) fn datasets(moment: &Moment, all: bool, rows_max: usize) -> String {
    let shown =
        |row: &&DatasetRow| all || row.state != DatasetState::Done && !matches!(moment.state, State::Left(_));
    let rows: Vec<&DatasetRow> = moment.datasets.iter().filter(shown).collect();
    let line = |row: &&DatasetRow| {
        [
            row.index.to_string(),
            last_chars(&row.path, PATH_CHARS),
            row.state.words(),
            row.attempts.to_string(),
            for_a_time(row.busy_ms),
            row.worker.as_ref().map_or_else(String::new, |worker| last_chars(worker, NAME_CHARS)),
        ]
    };
    let lines: Vec<_> = rows.iter().take(rows_max).map(line).collect();
    let head = ["#", "DATASET", "STATE", "TRIES", "WORK", "WORKER"];
    let mut text = part(head, &lines, &[0, 3, 4], rows.len());
    for row in rows.iter().take(lines.len()) {
        let why = row.reason.as_ref().map(|why| why.lines().next().unwrap_or_default().to_owned());
        text += &why.map_or_else(String::new, |why| format!("{}: {why}\n", row.path.escape_debug()));
    }
    text
}

/// A table with an empty line before it, and how many rows there are beside those shown; nothing where there are none.
fn part<const N: usize>(head: [&str; N], lines: &[[String; N]], numbers: &[usize], all: usize) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let rest = all - lines.len();
    let more = if rest > 0 { format!("and {rest} more: --all\n") } else { String::new() };
    format!("\n{}{more}", table(head, lines, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let lines = [["1".to_owned()]];
        assert_eq!(part(["#"], &lines, &[], 3), "\n#\n1\nand 2 more: --all\n");
        assert_eq!(part(["#"], &[], &[], 0), "");
    }
}
