//! Progress while a run goes on: bars where there is a terminal, plain lines where output is piped,
//! nothing where only JSON is wanted. The one gate through which it goes.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use worker::events::{Event, What};
use worker::failure::Failure;
use worker::item::Name;

use crate::backend::Update;
use crate::backend::supervisor::in_words;
use crate::story::{Effect, InjectedFault, Story};
use crate::units::Span;

/// Writes to standard output. A reader that went away (`| head`) ends nothing: there is a cluster to be
/// removed, or an exit code to come.
///
/// # Errors
/// Where the output goes to a file that cannot take it.
pub fn print(text: &str) -> Result<(), Failure> {
    worker::cli::print(text)
}

/// Writes a line to standard error, where nobody may be left to read it.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Bars,
    Lines,
    Silent,
}

/// Tells of one run.
#[derive(Debug)]
pub struct Terminal {
    mode: Mode,
    /// Before each line of progress.
    name: &'static str,
    total: u64,
    committed: BTreeSet<String>,
    /// Faults shown so far: they are shown in the order of time, each once its effect is known.
    shown: usize,
    bars: Option<Bars>,
}

#[derive(Debug)]
struct Bars {
    _all: MultiProgress,
    run: ProgressBar,
    machines: Vec<ProgressBar>,
}

impl Terminal {
    /// `total` is the number of commits that the run will have.
    pub fn new(mode: Mode, machines: u32, total: u64) -> Self {
        let bars = (mode == Mode::Bars).then(|| Bars::new(machines, total));
        Self { mode, name: "", total, committed: BTreeSet::new(), shown: 0, bars }
    }

    /// Tells of the undisturbed run that another is compared with.
    pub fn of_undisturbed(mode: Mode, total: u64) -> Self {
        let terminal = Self { name: "undisturbed: ", ..Self::new(mode, 0, total) };
        if let Some(bars) = &terminal.bars {
            bars.run.set_message("undisturbed, to compare");
        }
        terminal
    }

    /// A line of its own, above the bars.
    pub fn say(&self, line: &str) {
        match (&self.bars, self.mode) {
            (Some(bars), _) => bars.run.println(line),
            (None, Mode::Silent) => {}
            // Progress: the run matters more than who hears of it.
            (None, _) => {
                let _ = print(&format!("{line}\n"));
            }
        }
    }

    /// Shows what has just happened.
    pub fn update(&mut self, story: &Story, update: Update) {
        if self.mode == Mode::Silent {
            return;
        }
        match update {
            Update::Said(life) => {
                let incarnation = &story.incarnations[life];
                if let Some(event) = incarnation.events.last() {
                    self.said(incarnation.machine, event);
                }
            }
            Update::Injected(_) | Update::Judged(_) => self.faults(story),
            Update::Back(fault) => {
                let fault = &story.faults[fault];
                self.machine(fault.machine, "back");
            }
            Update::Started(life) => self.machine(story.incarnations[life].machine, "started"),
            Update::Ended(life) => {
                let incarnation = &story.incarnations[life];
                let words = incarnation.exit.map_or_else(String::new, in_words);
                self.machine(incarnation.machine, &words);
            }
            Update::Machine(machine, words) => self.machine(machine, words),
        }
    }

    /// Shows what faults are left, and removes the bars.
    pub fn end(mut self, story: Option<&Story>) {
        if let Some(story) = story {
            let rest = story.faults.get(self.shown..).unwrap_or_default();
            rest.iter().for_each(|fault| self.fault(story, fault));
        }
        self.clear();
    }

    fn clear(&mut self) {
        if let Some(bars) = self.bars.take() {
            for machine in bars.machines {
                machine.finish_and_clear();
            }
            bars.run.finish_and_clear();
        }
    }

    fn said(&mut self, machine: u32, event: &Event) {
        match &event.what {
            What::Claimed { item, dataset, .. } => {
                self.machine(machine, &words_of(*item, dataset.as_deref()));
            }
            What::Progress { item, done, total } if *total > 0 => {
                let percent = done.saturating_mul(100) / total;
                self.machine(machine, &format!("{item} {percent} %"));
            }
            What::Committed { path, .. } if self.committed.insert(path.clone()) => self.step(),
            What::Reported { .. } => self.machine(machine, "the report is committed"),
            What::QueueAway { error } => self.machine(machine, &format!("waits for the queue: {error}")),
            _ => {}
        }
    }

    fn step(&self) {
        let done = self.committed.len() as u64;
        match &self.bars {
            Some(bars) => bars.run.set_position(done),
            // Every tenth of the run, so that a pipe is not flooded.
            None if done * 10 / self.total.max(1) > (done - 1) * 10 / self.total.max(1) => {
                self.say(&format!("{}{done} of {} commits", self.name, self.total));
            }
            None => {}
        }
    }

    fn machine(&self, machine: u32, what: &str) {
        if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.machines.get(machine as usize)) {
            bar.set_message(what.to_owned());
        }
    }

    fn faults(&mut self, story: &Story) {
        if let Some(bars) = &self.bars {
            let effective: u32 = story.interrupted().values().sum();
            bars.run.set_message(format!("{effective} preemptions"));
        }
        let known = |fault: &&InjectedFault| fault.effect != Effect::Pending;
        while let Some(fault) = story.faults.get(self.shown).filter(known) {
            self.fault(story, fault);
            self.shown += 1;
        }
    }

    fn fault(&self, story: &Story, fault: &InjectedFault) {
        if self.mode == Mode::Silent {
            return;
        }
        let at = fault.at_ms.saturating_sub(story.began_ms) as f64 / 1000.0;
        let name = fault.incarnation.map_or("", |life| story.incarnations[life].name.as_str());
        let kind = fault.preemption.kind.words();
        let what = match &fault.effect {
            Effect::Interrupted(held) => format!("{name}: {kind}, in the middle of {}", held.item),
            Effect::FinishedInGrace => format!("{name}: {kind}, finished what it had in hand"),
            Effect::Idle => format!("{name}: {kind}, with nothing in hand"),
            Effect::Queue | Effect::Volume => kind.to_owned(),
            Effect::Away | Effect::Pending => return,
        };
        self.say(&format!("{at:7.3} s  {what}"));
    }
}

impl Bars {
    fn new(machines: u32, total: u64) -> Self {
        let all = MultiProgress::new();
        // The templates are constants; a wrong one would show as the default style.
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        // Messages are cut at the terminal's width: a line that wraps cannot be redrawn.
        let run = all.add(ProgressBar::new(total));
        let line = "{elapsed:>4} {bar:24.cyan/blue} {pos}/{len} commits{left}  {wide_msg}";
        run.set_style(style(line).with_key("left", left));
        run.enable_steady_tick(Duration::from_millis(100));
        let machines = (1..=machines)
            .map(|number| {
                let bar = all.add(ProgressBar::new_spinner());
                bar.set_style(style("  {prefix:<4} {wide_msg}"));
                bar.set_prefix(format!("w{number}"));
                bar
            })
            .collect();
        Self { _all: all, run, machines }
    }
}

/// `, 12s left`, once there is something to reckon from.
fn left(state: &ProgressState, line: &mut dyn std::fmt::Write) {
    if state.pos() > 0 && !state.is_finished() {
        // Writing to a line of text cannot fail.
        let _ = write!(line, ", {} left", Span::ms(state.eta().as_secs() * 1000));
    }
}

fn words_of(item: Name, dataset: Option<&str>) -> String {
    match dataset {
        Some(dataset) => format!("{item}  {dataset}"),
        None => item.to_string(),
    }
}
