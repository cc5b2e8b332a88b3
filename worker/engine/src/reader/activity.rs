//! What the workers of a run have noted, folded event by event: who holds what and since when, how often each dataset
//! was tried, what preemptions cost. By the workers' own accounts and clocks: what is true, commits say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use crate::contract::{Exit, RunPaths};
use crate::events::{Event, What};
use crate::item::Name;
use crate::queue::Release;

/// Moments of commits that are kept, for the rate of late.
const RECENT: usize = 512;

/// What a worker holds, by its own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// The item.
    pub item: Name,
    /// The dataset that it works on, where that is known.
    pub dataset: Option<String>,
    /// When it claimed the item, by its clock.
    pub since_ms: u64,
    /// How far it is, and of how much.
    pub progress: Option<(u64, u64)>,
    /// Up to when its work is saved or committed.
    #[serde(skip)]
    safe_ms: u64,
}

/// One life of a worker: what a file of events says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Life {
    /// The worker's name.
    pub worker: String,
    /// When it started and when it noted something last, by its clock.
    pub started_ms: u64,
    /// See `started_ms`.
    pub last_ms: u64,
    /// What it holds, unless another has claimed or done that since.
    pub holds: Option<Holding>,
    /// How it ended by itself: the exit code and why.
    pub ended: Option<(u8, String)>,
    /// Its item was redelivered to another worker: it is gone, or stood still.
    pub is_lost: bool,
    /// Why it waits, if it said so last.
    pub waits: Option<String>,
    /// Datasets and chains that it has done.
    pub items_done: u64,
    /// The last of its events that was taken in: lines may be written again.
    #[serde(skip)]
    seq: Option<u64>,
}

/// The attempts at a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tries {
    /// How often a worker began with it.
    pub attempts: u64,
    /// When the first did, and when something of it was committed last.
    pub first_ms: Option<u64>,
    /// See `first_ms`.
    pub last_ms: Option<u64>,
    /// Time at work on it, of all its items but the chain.
    pub busy_ms: u64,
    /// Who began with it last.
    pub worker: Option<String>,
    /// Why it was released last, other than by a preemption.
    pub reason: Option<String>,
}

/// Sums over a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Sums {
    /// Items claimed.
    pub claims: u64,
    /// Claims of what another held until its lease expired.
    pub redelivered: u64,
    /// Claims that went on from saved progress.
    pub resumed: u64,
    /// Commits that were first, by the folder of their stage.
    pub committed: BTreeMap<String, u64>,
    /// Commits that found another's.
    pub duplicates: u64,
    /// Workers that received a stop signal.
    pub notices: u64,
    /// Workers whose item was redelivered to another.
    pub vanished: u64,
    /// Leases that their owners lost.
    pub leases_lost: u64,
    /// Torn files that were replaced.
    pub repaired: u64,
    /// Items that were done twice and compared.
    pub audited: u64,
    /// Items released since an input, the volume or the queue was not ready.
    pub not_ready: u64,
    /// Items released since they failed.
    pub failures: u64,
    /// Time at work.
    pub busy_ms: u64,
    /// Of it, what took no effect.
    pub lost_ms: u64,
    /// Done items by their step: how many, and the time that they took.
    pub steps: BTreeMap<String, (u64, u64)>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// By the name of the event file.
    lives: BTreeMap<String, Life>,
    datasets: BTreeMap<u32, Tries>,
    /// Who claimed an item last, and when.
    claimed: BTreeMap<Name, (String, u64)>,
    sums: Sums,
    recent: VecDeque<u64>,
    /// When the run's first worker started, and when anybody noted something last.
    span_ms: Option<(u64, u64)>,
    /// Event lines that could not be read.
    unreadable: usize,
}

impl Activity {
    /// Takes in further lines of an event file, in their order.
    pub fn take(&mut self, file: &str, lines: &[u8]) {
        let (events, unreadable) = crate::events::parse(lines);
        self.unreadable += unreadable;
        for event in events {
            self.take_event(file, &event);
        }
    }

    fn take_event(&mut self, file: &str, event: &Event) {
        let at_ms = event.at_ms;
        let (first, last) = self.span_ms.unwrap_or((at_ms, at_ms));
        self.span_ms = Some((first.min(at_ms), last.max(at_ms)));
        let life = self.lives.entry(file.to_owned()).or_insert_with(|| Life {
            worker: event.worker.clone(),
            started_ms: at_ms,
            ..Life::default()
        });
        if life.seq.is_some_and(|seq| seq >= event.seq) {
            return;
        }
        life.seq = Some(event.seq);
        life.last_ms = at_ms;
        match &event.what {
            What::Claimed { item, dataset, taken_over_from, .. } => {
                self.claim(file, at_ms, *item, dataset.clone(), taken_over_from.is_some());
            }
            What::Began { dataset, .. } => {
                if let Some(holding) = &mut life.holds {
                    holding.dataset = Some(dataset.clone());
                    holding.progress = None;
                }
            }
            What::Resumed { done, total, .. } => {
                self.sums.resumed += 1;
                if let Some(holding) = &mut life.holds {
                    holding.progress = Some((*done, *total));
                }
            }
            What::Progress { done, total, .. } | What::Saved { done, total, .. } => {
                if let Some(holding) = &mut life.holds {
                    holding.progress = Some((*done, *total));
                    if matches!(event.what, What::Saved { .. }) {
                        holding.safe_ms = at_ms;
                    }
                }
            }
            What::Committed { item, path, won, .. } => self.commit(file, at_ms, *item, path, *won),
            What::Acked { .. } => self.release(file, at_ms, None),
            What::GaveBack { why, reason, .. } => self.release(file, at_ms, Some((*why, reason))),
            What::LeaseLost { .. } => self.sums.leases_lost += 1,
            What::Repaired { .. } => self.sums.repaired += 1,
            What::Audited { .. } => self.sums.audited += 1,
            What::Waits { reason } => life.waits = Some(reason.clone()),
            What::QueueAway { error } => life.waits = Some(format!("the queue is away: {error}")),
            What::QueueBack => life.waits = None,
            What::Exited { code, reason } => {
                self.sums.notices += u64::from(*code == Exit::Preempted.code());
                (life.ended, life.holds) = (Some((*code, reason.clone())), None);
            }
            _ => {}
        }
        if event.what.begins() {
            self.begin(event);
        }
    }

    fn claim(&mut self, file: &str, at_ms: u64, item: Name, dataset: Option<String>, redelivered: bool) {
        self.sums.claims += 1;
        self.sums.redelivered += u64::from(redelivered);
        let (before, claimed_ms) = self.claimed.get(&item).cloned().unwrap_or_else(|| (String::new(), 0));
        let is_newest = at_ms >= claimed_ms;
        if is_newest {
            self.claimed.insert(item, (file.to_owned(), at_ms));
        }
        // The worker that claimed it before has lost it, even if its own file does not say so.
        let loser = if is_newest { before } else { file.to_owned() };
        if let Some(life) = self.lives.get_mut(file) {
            life.waits = None;
            life.holds = Some(Holding { item, dataset, since_ms: at_ms, progress: None, safe_ms: at_ms });
        }
        if loser != file || !is_newest {
            self.lose(&loser, item);
        }
    }

    /// What a worker held, another has claimed since.
    fn lose(&mut self, file: &str, item: Name) {
        let Some(life) = self.lives.get_mut(file) else { return };
        let Some(holding) = life.holds.take_if(|holding| holding.item == item) else { return };
        life.is_lost = true;
        self.sums.vanished += 1;
        let busy = life.last_ms.saturating_sub(holding.since_ms);
        self.sums.busy_ms += busy;
        self.sums.lost_ms += life.last_ms.saturating_sub(holding.safe_ms);
    }

    fn commit(&mut self, file: &str, at_ms: u64, item: Name, path: &str, won: bool) {
        if won {
            // The first folder of its name inside the run is its stage's.
            let place = RunPaths::new("");
            let folder = place.place(path).split('/').next().unwrap_or_default().to_owned();
            *self.sums.committed.entry(folder).or_default() += 1;
            self.recent.push_back(at_ms);
            while self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        } else {
            self.sums.duplicates += 1;
        }
        if let Some(holding) = self.lives.get_mut(file).and_then(|life| life.holds.as_mut()) {
            if !won {
                self.sums.lost_ms += at_ms.saturating_sub(holding.safe_ms);
            }
            holding.safe_ms = at_ms;
        }
        if let Some(index) = item.index() {
            let tries = self.datasets.entry(index).or_default();
            tries.last_ms = tries.last_ms.max(Some(at_ms));
        }
    }

    /// A worker ends its claim; where it released the item, why.
    fn release(&mut self, file: &str, at_ms: u64, released: Option<(Release, &String)>) {
        let Some(life) = self.lives.get_mut(file) else { return };
        life.is_lost = false;
        let Some(holding) = life.holds.take() else { return };
        let busy = at_ms.saturating_sub(holding.since_ms);
        self.sums.busy_ms += busy;
        if let Some(index) = holding.item.index() {
            self.datasets.entry(index).or_default().busy_ms += busy;
        }
        let Some((why, reason)) = released else {
            life.items_done += 1;
            let (count, time) = self.sums.steps.entry(holding.item.step().to_owned()).or_default();
            (*count, *time) = (*count + 1, *time + busy);
            return;
        };
        self.sums.lost_ms += at_ms.saturating_sub(holding.safe_ms);
        match why {
            Release::Preempted => return,
            Release::NotReady => self.sums.not_ready += 1,
            Release::Failed => self.sums.failures += 1,
        }
        life.waits = Some(reason.clone());
        if let Some(index) = holding.item.index() {
            self.datasets.entry(index).or_default().reason = Some(reason.clone());
        }
    }

    fn begin(&mut self, event: &Event) {
        let (What::Claimed { item, .. } | What::Began { item, .. }) = &event.what else { return };
        let Some(index) = item.index() else { return };
        let tries = self.datasets.entry(index).or_default();
        tries.attempts += 1;
        tries.first_ms = Some(tries.first_ms.map_or(event.at_ms, |first| first.min(event.at_ms)));
        tries.worker = Some(event.worker.clone());
    }

    /// The lives of workers, oldest first.
    pub fn lives(&self) -> Vec<&Life> {
        let mut lives: Vec<&Life> = self.lives.values().collect();
        lives.sort_by(|a, b| (a.started_ms, &a.worker).cmp(&(b.started_ms, &b.worker)));
        lives
    }

    /// The last life of each worker, by name.
    pub fn workers(&self) -> Vec<&Life> {
        let mut newest: BTreeMap<&str, &Life> = BTreeMap::new();
        for life in self.lives() {
            newest.insert(&life.worker, life);
        }
        newest.into_values().collect()
    }

    /// The attempts at a dataset.
    pub fn tries(&self, index: u32) -> Tries {
        self.datasets.get(&index).cloned().unwrap_or_default()
    }

    /// The items that somebody holds by its own account.
    pub fn held(&self) -> BTreeSet<Name> {
        self.lives.values().filter_map(|life| life.holds.as_ref()).map(|holding| holding.item).collect()
    }

    /// The run in numbers.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// When the first worker started, and when anybody noted something last.
    pub fn span_ms(&self) -> Option<(u64, u64)> {
        self.span_ms
    }

    /// When something was committed last.
    pub fn last_commit_ms(&self) -> Option<u64> {
        self.recent.iter().max().copied()
    }

    /// The time of all workers together, each from its start to what it noted last.
    pub fn alive_ms(&self) -> u64 {
        self.lives.values().map(|life| life.last_ms.saturating_sub(life.started_ms)).sum()
    }

    /// Event lines that are torn or of another version.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Commits a second over the last `window_ms` before `now_ms`; `None` where there were none.
    pub fn rate(&self, now_ms: u64, window_ms: u64) -> Option<f64> {
        let from = now_ms.saturating_sub(window_ms);
        let late = self.recent.iter().filter(|at_ms| (from..=now_ms).contains(at_ms));
        let (count, first) =
            late.fold((0u32, now_ms), |(count, first), at_ms| (count + 1, first.min(*at_ms)));
        // Of a full store of moments, the window is shorter than asked for.
        let begin = if self.recent.len() == RECENT { first } else { from.max(self.span_ms?.0) };
        (count > 0).then(|| f64::from(count) * 1000.0 / now_ms.saturating_sub(begin).max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::FORMAT_VERSION;
    use crate::hash::Hash;

    const ITEM: Name = Name::constant("prepare/3");

    fn lines(worker: &str, events: &[(u64, What)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (seq, (at_ms, what)) in events.iter().enumerate() {
            let event = Event {
                v: FORMAT_VERSION,
                at_ms: *at_ms,
                worker: worker.to_owned(),
                seq: seq as u64,
                what: what.clone(),
            };
            bytes.extend(serde_json::to_vec(&event).unwrap());
            bytes.push(b'\n');
        }
        bytes
    }

    fn claimed(from: Option<&str>) -> What {
        What::Claimed {
            item: ITEM,
            token: 1,
            attempt: "attempts/1".to_owned(),
            dataset: Some("datasets/training/a".to_owned()),
            taken_over_from: from.map(str::to_owned),
            lost: 0,
        }
    }

    fn committed(won: bool) -> What {
        What::Committed {
            item: ITEM,
            path: "runs/1/prepared/from-1000/1003".to_owned(),
            hash: Hash::default(),
            attempt: "attempts/1".to_owned(),
            won,
        }
    }

    fn acked() -> What {
        What::Acked { item: ITEM, token: 1, held: true }
    }

    #[test]
    fn what_is_claimed_is_held_until_it_is_done() {
        let mut activity = Activity::default();
        activity.take("a", &lines("w1", &[(100, claimed(None))]));
        let holding = activity.workers()[0].holds.clone().unwrap();
        assert_eq!((holding.item, holding.since_ms), (ITEM, 100));
        activity.take("a", &lines("w1", &[(100, claimed(None)), (300, committed(true)), (350, acked())])[..]);
        assert_eq!(activity.workers()[0].holds, None);
        assert_eq!(activity.sums().committed["prepared"], 1);
        assert_eq!(activity.sums().steps["prepare"], (1, 250));
        assert_eq!(activity.tries(3).worker.as_deref(), Some("w1"));
    }

    /// In whichever order the files are read, who claimed last holds it, and the other is lost.
    #[test]
    fn a_worker_whose_item_another_claims_is_lost() {
        let first = lines(
            "w1",
            &[
                (100, claimed(None)),
                (400, What::Saved { item: ITEM, done: 1, total: 2 }),
                (500, What::Progress { item: ITEM, done: 2, total: 2 }),
            ],
        );
        let second = lines("w2", &[(5_500, claimed(Some("w1")))]);
        for order in [["a", "b"], ["b", "a"]] {
            let mut activity = Activity::default();
            for file in order {
                activity.take(file, if file == "a" { &first } else { &second });
            }
            let [one, two] = activity.workers()[..] else { panic!("two workers") };
            assert!(one.is_lost && one.holds.is_none() && two.holds.is_some(), "{order:?}");
            assert_eq!((activity.sums().vanished, activity.sums().redelivered), (1, 1), "{order:?}");
        }
    }

    #[test]
    fn work_that_took_no_effect_is_lost() {
        let mut activity = Activity::default();
        let back =
            What::GaveBack { item: ITEM, token: 1, why: Release::Preempted, reason: "stop".to_owned() };
        activity.take(
            "a",
            &lines(
                "w1",
                &[
                    (100, claimed(None)),
                    (400, What::Saved { item: ITEM, done: 1, total: 2 }),
                    (500, back),
                    (501, What::Exited { code: 75, reason: "told to stop".to_owned() }),
                ],
            ),
        );
        activity.take("b", &lines("w2", &[(600, claimed(None)), (900, committed(false)), (950, acked())]));
        let sums = activity.sums();
        assert_eq!((sums.busy_ms, sums.lost_ms), (400 + 350, 100 + 300));
        assert_eq!((sums.notices, sums.vanished, sums.duplicates), (1, 0, 1));
        assert_eq!(activity.tries(3).attempts, 2);
        assert_eq!(activity.workers()[0].ended.as_ref().map(|(code, _)| *code), Some(75));
    }

    #[test]
    fn the_rate_is_of_late() {
        let mut activity = Activity::default();
        activity.take(
            "a",
            &lines("w1", &[(0, claimed(None)), (1_000, committed(true)), (59_000, committed(true))]),
        );
        assert_eq!(activity.rate(60_000, 10_000), Some(0.1));
        assert_eq!(activity.rate(200_000, 10_000), None);
    }
}
