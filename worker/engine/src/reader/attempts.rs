//! The attempts of a run, from its workers' events: one for each claim, with what it committed and what was lost.

use serde::Serialize;

use crate::events::{Event, What};
use crate::item::Name;
use crate::queue::Release;

/// One life of a worker's process, from its start to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Incarnation {
    /// The machine's number, from 0.
    pub machine: u32,
    /// The worker's name.
    pub name: String,
    /// The process's number there.
    pub pid: u32,
    /// When it started.
    pub started_ms: u64,
    /// When its end was seen; `None` while it lives.
    pub ended_ms: Option<u64>,
    /// Exit code, or the signal's negative number.
    pub exit: Option<i32>,
    /// What it noted, in order.
    pub events: Vec<Event>,
}

impl Incarnation {
    /// The claim that it holds by its own account: claimed, and neither acknowledged nor released.
    pub fn held(&self) -> Option<Held> {
        let mut held = None;
        for event in &self.events {
            match &event.what {
                What::Claimed { item, token, attempt, .. } => {
                    held = Some(Held { item: *item, token: *token, attempt: attempt.clone() });
                }
                What::Acked { .. } | What::GaveBack { .. } => held = None,
                _ => {}
            }
        }
        held
    }

    /// The folder of the attempt that a claim began.
    pub fn attempt_of(&self, item: Name, token: u64) -> String {
        let found = self.events.iter().rev().find_map(|event| match &event.what {
            What::Claimed { item: of, token: number, attempt, .. } if (*of, *number) == (item, token) => {
                Some(attempt.clone())
            }
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// What the worker itself said that it ended for.
    pub fn last_words(&self) -> Option<(u8, &str)> {
        self.events.iter().rev().find_map(|event| match &event.what {
            What::Exited { code, reason } => Some((*code, reason.as_str())),
            _ => None,
        })
    }
}

/// A claim, as events name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The item.
    pub item: Name,
    /// The claim's token.
    pub token: u64,
    /// The attempt's folder.
    pub attempt: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The item is done.
    Acked,
    /// It was released.
    GaveBack(Release),
    /// With its process.
    Died,
    /// Not by what was seen.
    Open,
}

/// A commit by an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// When.
    pub at_ms: u64,
    /// Where.
    pub path: String,
    /// Whether it was first there.
    pub won: bool,
}

/// One claim's work, from its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The machine's number.
    pub machine: u32,
    /// The place of its incarnation.
    pub incarnation: usize,
    /// The claim.
    pub held: Held,
    /// The dataset, where the item is one's.
    pub dataset: Option<String>,
    /// Whose lease on the item had expired.
    pub taken_over_from: Option<String>,
    /// When it was claimed.
    pub start_ms: u64,
    /// When it ended.
    pub end_ms: u64,
    /// How.
    pub end: End,
    /// The attempt whose saved progress it went on from.
    pub resumed_from: Option<String>,
    /// How often it saved its progress.
    pub saves: u32,
    /// What it committed.
    pub commits: Vec<Committed>,
    /// Time within it that its machine was stopped.
    pub stopped_ms: u64,
    /// Work that took no effect: after the last save or commit, or for a commit that another made.
    pub lost_ms: u64,
    /// Up to where its work is safe: saved or committed.
    safe_ms: u64,
}

impl Attempt {
    /// Time at work.
    pub fn busy_ms(&self) -> u64 {
        self.end_ms.saturating_sub(self.start_ms + self.stopped_ms)
    }
}

/// What is known of an incarnation's machine beside its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// It was stopped, and went on again if that is given.
    Stopped {
        /// The place of the incarnation.
        incarnation: usize,
        /// When it was stopped.
        at_ms: u64,
        /// When it went on.
        back_ms: Option<u64>,
    },
    /// It was killed.
    Killed {
        /// The place of the incarnation.
        incarnation: usize,
        /// When.
        at_ms: u64,
    },
}

/// The lives of a run's workers, each from its event file, oldest first. A worker's name identifies its machine.
/// A life without a last event has ended where another of its name follows, where another worker has claimed its item,
/// or where the whole run has ended.
pub fn incarnations(files: Vec<Vec<Event>>, has_ended: bool) -> Vec<Incarnation> {
    let mut files: Vec<Vec<Event>> = files.into_iter().filter(|events| !events.is_empty()).collect();
    files.sort_by(|a, b| (a[0].at_ms, &a[0].worker).cmp(&(b[0].at_ms, &b[0].worker)));
    let mut machines: Vec<String> = Vec::new();
    let mut all: Vec<Incarnation> = Vec::new();
    for events in files {
        let name = events[0].worker.clone();
        let machine = machines.iter().position(|known| *known == name).unwrap_or_else(|| {
            machines.push(name.clone());
            machines.len() - 1
        });
        let pid = events.iter().find_map(|event| match event.what {
            What::Started { pid, .. } => Some(pid),
            _ => None,
        });
        all.push(Incarnation {
            // As many as there are files fit.
            machine: u32::try_from(machine).unwrap_or(u32::MAX),
            name,
            pid: pid.unwrap_or_default(),
            started_ms: events[0].at_ms,
            ended_ms: None,
            exit: None,
            events,
        });
    }
    for at in 0..all.len() {
        let exit = all[at].last_words().map(|(code, _)| i32::from(code));
        let last_ms = all[at].events.last().map_or(all[at].started_ms, |event| event.at_ms);
        let is_over = exit.is_some() || has_ended || is_followed(&all, at, last_ms);
        (all[at].exit, all[at].ended_ms) = (exit, is_over.then_some(last_ms));
    }
    all
}

/// Whether another life shows that one is over.
fn is_followed(all: &[Incarnation], at: usize, last_ms: u64) -> bool {
    let held = all[at].held().map(|held| held.item);
    let claims = |event: &Event| {
        matches!(&event.what, What::Claimed { item, .. } if Some(*item) == held) && event.at_ms > last_ms
    };
    let others = all.iter().enumerate().filter(|(number, _)| *number != at);
    others.into_iter().any(|(number, other)| {
        number > at && other.machine == all[at].machine || held.is_some() && other.events.iter().any(claims)
    })
}

/// Every attempt, by machine and time.
pub fn attempts(incarnations: &[Incarnation], outages: &[Outage]) -> Vec<Attempt> {
    let mut all = Vec::new();
    for (number, incarnation) in incarnations.iter().enumerate() {
        all.extend(Reading { outages, number }.attempts_of(incarnation));
    }
    all.sort_by_key(|attempt| (attempt.machine, attempt.start_ms, attempt.incarnation));
    all
}

/// The events of one incarnation, on the way to its attempts.
struct Reading<'a> {
    outages: &'a [Outage],
    number: usize,
}

impl Reading<'_> {
    fn attempts_of(&self, incarnation: &Incarnation) -> Vec<Attempt> {
        let mut all: Vec<Attempt> = Vec::new();
        let mut open: Option<Attempt> = None;
        for event in &incarnation.events {
            if let What::Claimed { item, token, attempt, dataset, taken_over_from, .. } = &event.what {
                all.extend(open.take().map(|attempt| self.close(attempt, event.at_ms, End::Open)));
                open = Some(Attempt {
                    machine: incarnation.machine,
                    incarnation: self.number,
                    held: Held { item: *item, token: *token, attempt: attempt.clone() },
                    dataset: dataset.clone(),
                    taken_over_from: taken_over_from.clone(),
                    start_ms: event.at_ms,
                    end_ms: event.at_ms,
                    end: End::Open,
                    resumed_from: None,
                    saves: 0,
                    commits: Vec::new(),
                    stopped_ms: 0,
                    lost_ms: 0,
                    safe_ms: event.at_ms,
                });
                continue;
            }
            let Some(attempt) = &mut open else { continue };
            let end = match &event.what {
                What::Acked { .. } => End::Acked,
                What::GaveBack { why, .. } => End::GaveBack(*why),
                what => {
                    self.follow(attempt, event.at_ms, what);
                    continue;
                }
            };
            all.extend(open.take().map(|attempt| self.close(attempt, event.at_ms, end)));
        }
        let last = incarnation.events.last().map_or(incarnation.started_ms, |event| event.at_ms);
        if let Some(attempt) = open {
            let died = self.killed_ms().or(incarnation.ended_ms);
            let end = if died.is_some() { End::Died } else { End::Open };
            all.push(self.close(attempt, died.unwrap_or(last).max(last), end));
        }
        all
    }

    fn follow(&self, attempt: &mut Attempt, at_ms: u64, what: &What) {
        match what {
            What::Resumed { from, .. } => attempt.resumed_from = Some(from.clone()),
            // What a stopped machine saves after its return, another has done already.
            What::Saved { .. } => {
                attempt.saves += 1;
                if self.stopped_ms(attempt, at_ms) == 0 {
                    attempt.safe_ms = at_ms;
                }
            }
            What::Committed { path, won, .. } => {
                if !won {
                    let stopped = self.stopped_ms(attempt, at_ms);
                    let since_safe = at_ms.saturating_sub(attempt.safe_ms);
                    attempt.lost_ms += since_safe.saturating_sub(stopped);
                }
                attempt.safe_ms = at_ms;
                attempt.commits.push(Committed { at_ms, path: path.clone(), won: *won });
            }
            _ => {}
        }
    }

    fn close(&self, mut attempt: Attempt, at_ms: u64, end: End) -> Attempt {
        attempt.end_ms = at_ms.max(attempt.start_ms);
        attempt.end = end;
        attempt.stopped_ms = self.stopped_ms(&attempt, attempt.end_ms);
        if matches!(end, End::Died | End::GaveBack(_)) {
            let since = Attempt { start_ms: attempt.safe_ms, ..attempt.clone() };
            let stopped = self.stopped_ms(&since, attempt.end_ms);
            attempt.lost_ms += attempt.end_ms.saturating_sub(attempt.safe_ms).saturating_sub(stopped);
        }
        attempt
    }

    /// How long an attempt's machine was stopped between its start and `until`.
    fn stopped_ms(&self, attempt: &Attempt, until: u64) -> u64 {
        let stops = self.outages.iter().filter_map(|outage| match outage {
            Outage::Stopped { incarnation, at_ms, back_ms } if *incarnation == self.number => {
                let back = back_ms.unwrap_or(until).min(until);
                Some(back.saturating_sub((*at_ms).max(attempt.start_ms)))
            }
            _ => None,
        });
        stops.sum()
    }

    fn killed_ms(&self) -> Option<u64> {
        self.outages.iter().find_map(|outage| match outage {
            Outage::Killed { incarnation, at_ms } if *incarnation == self.number => Some(*at_ms),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::FORMAT_VERSION;

    fn event(worker: &str, at_ms: u64, what: What) -> Event {
        Event { v: FORMAT_VERSION, at_ms, worker: worker.to_owned(), seq: at_ms, what }
    }

    fn claimed(worker: &str, at_ms: u64) -> Event {
        let what = What::Claimed {
            item: Name::constant("prepare/0"),
            token: at_ms,
            attempt: format!("attempts/{at_ms}"),
            dataset: None,
            taken_over_from: None,
            lost: 0,
        };
        event(worker, at_ms, what)
    }

    fn exited(worker: &str, at_ms: u64) -> Event {
        event(worker, at_ms, What::Exited { code: 75, reason: String::new() })
    }

    #[test]
    fn a_life_is_over_where_another_shows_it() {
        let one = |files: Vec<Vec<Event>>, has_ended| {
            let lives = incarnations(files, has_ended);
            (lives[0].machine, lives[0].ended_ms, lives[0].exit)
        };
        assert_eq!(one(vec![vec![claimed("a", 1)]], false), (0, None, None));
        assert_eq!(one(vec![vec![claimed("a", 1)]], true), (0, Some(1), None));
        assert_eq!(one(vec![vec![claimed("a", 1), exited("a", 4)]], false), (0, Some(4), Some(75)));
        assert_eq!(one(vec![vec![claimed("b", 9)], vec![claimed("a", 1)]], false), (0, Some(1), None));
        assert_eq!(one(vec![vec![claimed("a", 1)], vec![exited("a", 9)]], false), (0, Some(1), None));
    }

    #[test]
    fn what_is_still_held_is_open_and_what_was_lost_is_counted() {
        let lives = incarnations(vec![vec![claimed("a", 1)], vec![claimed("b", 50)]], false);
        let ends: Vec<End> = attempts(&lives, &[]).iter().map(|attempt| attempt.end).collect();
        assert_eq!(ends, [End::Died, End::Open]);
        let outages = [
            Outage::Stopped { incarnation: 1, at_ms: 60, back_ms: Some(80) },
            Outage::Killed { incarnation: 1, at_ms: 100 },
        ];
        let all = attempts(&lives, &outages);
        assert_eq!((all[1].end, all[1].stopped_ms, all[1].lost_ms), (End::Died, 20, 30));
    }
}
