//! `worker watch`: a run while it goes on. Redrawn on a terminal; a line for each change where output is piped.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;

use super::shown;
use super::table::{clock, for_a_time};
use super::watched::{Moment, Watched};
use super::{Failure, VolumeArgs, existing_run, print};
use crate::contract::Exit;
use crate::duration::parse_positive;
use crate::reader::overview::WorkerState;
use crate::reader::state::State;
use crate::system::{Machine, System};

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// The run's name [default: the newest number]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
    /// The refresh interval.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_positive)]
    every: Duration,
    /// Show it once, and end.
    #[arg(long)]
    once: bool,
    /// What one worker costs an hour, in dollars: the cost so far is shown
    #[arg(long, value_name = "DOLLARS")]
    price: Option<f64>,
}

/// Columns and rows where a terminal does not say how large it is.
const SIZE: (usize, usize) = (80, 24);
/// Cells of the bar.
const BAR: u64 = 30;
/// Rows of a frame that are not of its tables.
const HEAD_ROWS: usize = 12;

/// Shows the run until it has ended, or a signal asks the watcher to stop.
pub(crate) async fn watch(args: WatchArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let machine = Machine::new(false).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    let run = existing_run(&store, args.run).await?;
    let mut watched = Watched::new(store, run);
    let mut screen = Screen::new(args.once);
    loop {
        let moment = watched.look(&machine).await?;
        screen.show(&moment, args.price)?;
        if args.once || moment.state.has_ended() {
            return Ok(exit_of(&moment.state).filter(|_| !args.once).unwrap_or(Exit::Finished));
        }
        tokio::select! {
            biased;
            () = machine.stop_requested() => return Ok(Exit::Finished),
            () = machine.sleep(args.every) => {}
        }
    }
}

/// What a worker of the run would end with, so that a script may go on by it.
fn exit_of(state: &State) -> Option<Exit> {
    Some(match state {
        State::Complete(tally) => tally.exit(false),
        State::Void(_) => Exit::Violation,
        State::Left(_) => Exit::Left,
        State::NotBegun | State::Open | State::Damaged(_) => return None,
    })
}

/// Where frames go.
enum Screen {
    /// A terminal: each frame over the last one, of this many lines.
    Redrawn(usize),
    /// A frame, and no more.
    Once,
    /// A line for each that differs from the last one.
    Lines(String),
}

impl Screen {
    fn new(once: bool) -> Self {
        match (once, io::stdout().is_terminal()) {
            (true, _) => Self::Once,
            (false, true) => Self::Redrawn(0),
            (false, false) => Self::Lines(String::new()),
        }
    }

    fn show(&mut self, moment: &Moment, price: Option<f64>) -> Result<(), Failure> {
        match self {
            Self::Once => print(&frame(moment, price, SIZE)),
            Self::Redrawn(lines) => {
                let size = terminal_size::terminal_size()
                    .map_or(SIZE, |(width, height)| (usize::from(width.0), usize::from(height.0)));
                let text = frame(moment, price, size);
                // Up to where the last frame began, and what is below goes.
                let back = if *lines == 0 { String::new() } else { format!("\x1b[{lines}F\x1b[J") };
                *lines = text.lines().count();
                print(&format!("{back}{text}"))
            }
            Self::Lines(last) => {
                let line = line(moment);
                if *last == line {
                    return Ok(());
                }
                let text = format!("{} {line}\n", clock(moment.at_ms));
                *last = line;
                print(&text)
            }
        }
    }
}

/// The run on a screen of some columns and rows.
fn frame(moment: &Moment, price: Option<f64>, (columns, rows): (usize, usize)) -> String {
    let took = for_a_time(took_ms(moment));
    let mut text = format!("run {}: {}, {took}\n", moment.run, moment.state);
    text += &format!("{}\n", progress(moment));
    text += &format!("workers: {}\n", workers(moment));
    text += &format!("preemptions: {}\n", preemptions(moment));
    if let Some(price) = price {
        text += &format!("cost: {}\n", cost(moment, price));
    }
    let rejected = moment.datasets.iter().filter(|row| row.state.words() == "rejected").count();
    let refused = moment.files.manifest.as_ref().map_or(0, |manifest| manifest.refused.len());
    if rejected + refused > 0 {
        text += &format!("left out: {rejected} rejected, {refused} refused\n");
    }
    let table_rows = (rows.saturating_sub(HEAD_ROWS) / 2).max(3);
    text += &shown::workers(moment, false, table_rows);
    text += &shown::datasets(moment, false, table_rows);
    text.lines().map(|line| cut(line, columns) + "\n").collect()
}

/// A line that fits.
fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let cut: String = line.chars().take(columns.saturating_sub(1)).collect();
    cut + "…"
}

/// The same in a line.
fn line(moment: &Moment) -> String {
    let progress = moment.progress;
    let left = progress.eta_s.map_or_else(String::new, |eta_s| {
        // Shown to the minute, so that it is no news in itself.
        format!(", {:.0} min left", (eta_s / 60.0).ceil())
    });
    format!(
        "run {}: {}, {} of {} steps{left}; {}; {}",
        moment.run,
        moment.state,
        progress.done,
        progress.all,
        workers(moment),
        preemptions(moment)
    )
}

fn progress(moment: &Moment) -> String {
    let progress = moment.progress;
    let share = (BAR * progress.done).checked_div(progress.all).unwrap_or(0);
    let bar: String = (0..BAR).map(|cell| if cell < share { '#' } else { '.' }).collect();
    format!("[{bar}] {}", steps(moment))
}

/// `12 of 40 steps, 1.2/s, 23 s left`.
pub(crate) fn steps(moment: &Moment) -> String {
    let progress = moment.progress;
    let rate = progress.rate.map_or_else(String::new, |rate| format!(", {rate:.1}/s"));
    let left = progress
        .eta_s
        .map_or_else(String::new, |eta_s| format!(", {} left", for_a_time((eta_s * 1000.0) as u64)));
    format!("{} of {} steps{rate}{left}", progress.done, progress.all)
}

/// `2 working, 1 idle or gone`.
fn workers(moment: &Moment) -> String {
    const SHOWN: [WorkerState; 5] = [
        WorkerState::Working,
        WorkerState::IdleOrGone,
        WorkerState::Lost,
        WorkerState::Preempted,
        WorkerState::Ended,
    ];
    let count = |state| moment.workers.iter().filter(|row| row.state == state).count();
    let counts = SHOWN.map(|state| (count(state), state.words()));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = counts.map(|(count, words)| format!("{count} {words}")).collect();
    if words.is_empty() { "none yet".to_owned() } else { words.join(", ") }
}

/// How long the run has been going on, or went on.
pub(crate) fn took_ms(moment: &Moment) -> u64 {
    moment.span_ms.map_or(0, |(first, last)| {
        let end = if moment.state.has_ended() { last } else { moment.at_ms };
        end.saturating_sub(first)
    })
}

/// What the workers' time cost so far, at a price an hour.
pub(crate) fn cost(moment: &Moment, price: f64) -> String {
    let hours = moment.alive_ms as f64 / 3_600_000.0;
    format!("{:.2} $ for {hours:.1} hours of workers, at {price} $ an hour", price * hours)
}

pub(crate) fn preemptions(moment: &Moment) -> String {
    let sums = &moment.sums;
    let share = if sums.busy_ms == 0 { 0.0 } else { 100.0 * sums.lost_ms as f64 / sums.busy_ms as f64 };
    format!(
        "{} received a stop notice, {} vanished; {} redelivered, {} resumed; lost {share:.1} % of the work",
        sums.notices, sums.vanished, sums.redelivered, sums.resumed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_terminal() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
    }
}
