//! One I/O of one worker, in the order in which the worker makes them.

use worker::pipeline::{Stage, Step};

use super::{EVALUATE, Entry, FOLD, JOIN, Next, Protocol, Pushed, State, Worker, Written, plan};

impl Protocol {
    pub(super) fn step(&self, state: &mut State, number: usize) {
        match state.workers[number].clone() {
            Worker::Idle => self.claim_or_look(state, number),
            Worker::Holding { item, next, .. } => self.go_on(state, number, item, next),
            Worker::Finished => {}
        }
    }

    /// The lowest rank that may be had; where there is none, what the volume says (`run.rs`, `idle`).
    fn claim_or_look(&self, state: &mut State, number: usize) {
        if let Some(item) = state.free().first() {
            return state.claim(number, *item);
        }
        if self.has_ended(state) {
            state.workers[number] = Worker::Finished;
            return;
        }
        let sealed = self.manifest(state).is_some_and(|manifest| manifest.sealed);
        let offers = if state.pages.is_empty() {
            vec![Step::Begin]
        } else if !sealed && !state.pushed.is_empty() {
            vec![Step::Intake]
        } else {
            self.claimable(state, false)
        };
        state.add(&offers);
    }

    fn go_on(&self, state: &mut State, number: usize, item: Step, next: Next) {
        let then = match (next, item) {
            (Next::Start, Step::Begin | Step::Intake) => self.read_pushed(state, item),
            (Next::ReadManifest(read), _) => self.read_manifest(state, item, read),
            (Next::Link(page, written, read), _) => self.link(state, page, written, read),
            (Next::TakeIn(read), _) => self.take_in(state, read),
            (Next::Start, Step::Each(stage, index)) => self.commit(state, stage, index),
            (Next::Start | Next::FoldOn, Step::Chain(_)) => self.fold(state, next == Next::Start),
            (Next::OfferEvaluation(index), _) => {
                state.add(&[Step::Each(EVALUATE, index)]);
                Some(Next::FoldOn)
            }
            (Next::Start, Step::Report) => return self.begin_report(state, number),
            (Next::LookBeforeSeal(page), _) => {
                if state.pushed.is_empty() {
                    Some(Next::Link(page, Written::Seal, state.pushed))
                } else {
                    state.add(&[Step::Intake]);
                    Some(Next::Ack)
                }
            }
            (Next::Report, _) => {
                let of = self.manifest(state).map(|manifest| manifest.len());
                state.doubled |= state.report.is_some();
                state.report = state.report.or(of);
                Some(Next::Project)
            }
            (Next::Project, _) => {
                state.output = true;
                Some(Next::Ack)
            }
            (Next::Ack, _) => return self.acknowledge(state, number, item),
            (Next::FoldOn, _) => None,
        };
        match then {
            Some(next) => {
                if let Worker::Holding { next: place, .. } = &mut state.workers[number] {
                    *place = next;
                }
            }
            None => Self::release(state, number, Worker::Idle),
        }
    }

    /// Begin reads the pushed paths before the manifest: a path that is gone by then is in a
    /// manifest that it sees. Intake has read before that there is a manifest.
    fn read_pushed(&self, state: &State, item: Step) -> Option<Next> {
        let sealed = self.manifest(state).is_some_and(|manifest| manifest.sealed);
        match item {
            Step::Intake if sealed => Some(Next::Ack),
            Step::Intake => self.chapter(state, state.pushed),
            _ => Some(Next::ReadManifest(state.pushed)),
        }
    }

    fn read_manifest(&self, state: &mut State, item: Step, read: Pushed) -> Option<Next> {
        if item != Step::Begin || !state.pages.is_empty() {
            return Some(Next::Ack);
        }
        if !read.a {
            state.broken = Some("a worker reads that there are no datasets, and there are");
            return Some(Next::Ack);
        }
        Some(Next::Link(0, Written::First { with_b: read.b }, read))
    }

    /// What intake does with what was pushed, by the manifest as it is now.
    fn chapter(&self, state: &State, read: Pushed) -> Option<Next> {
        let manifest = self.manifest(state)?;
        if read.b && manifest.by_path("B").is_none() {
            return Some(Next::Link(manifest.next_page, Written::ChapterB, read));
        }
        Some(Next::TakeIn(read))
    }

    /// Only the link decides: a page that is there already is adopted.
    fn link(&self, state: &mut State, page: u32, written: Written, read: Pushed) -> Option<Next> {
        if state.pages.len() == page as usize {
            state.pages.push(written);
            if self.manifest(state).is_none() {
                state.broken = Some("a page follows that cannot");
            }
        } else {
            state.doubled = true;
        }
        match written {
            Written::Seal if state.pages.contains(&Written::Seal) => Some(Next::Report),
            Written::Seal => Some(Next::Ack),
            _ => Some(Next::TakeIn(read)),
        }
    }

    /// By value, of what was read, and only what the manifest holds now.
    fn take_in(&self, state: &mut State, read: Pushed) -> Option<Next> {
        let manifest = self.manifest(state)?;
        let holds = |name: &str| manifest.by_path(name).is_some();
        let (a, b) = (read.a && holds("A"), read.b && holds("B"));
        state.pushed = Pushed { a: state.pushed.a && !a, b: state.pushed.b && !b };
        Some(Next::Ack)
    }

    /// Returns `None` if an input is not there yet: the item is released.
    fn commit(&self, state: &mut State, stage: Stage, index: u32) -> Option<Next> {
        let manifest = self.manifest(state)?;
        if index >= manifest.len() {
            return manifest.sealed.then_some(Next::Ack);
        }
        let inputs = Self::inputs(manifest, stage, index);
        if !inputs.iter().all(|input| state.commits.contains(input)) {
            return None;
        }
        state.doubled |= !state.commits.insert((stage.0, index));
        Some(Next::Ack)
    }

    fn fold(&self, state: &mut State, first: bool) -> Option<Next> {
        let manifest = self.manifest(state)?;
        let Some(index) = plan(manifest).first_missing(&mut Self::known(state), FOLD) else {
            return Some(Next::Ack);
        };
        if !state.has(JOIN, index) {
            // Nothing to fold at all, or no further.
            return if first { None } else { Some(Next::Ack) };
        }
        let before = manifest.train_before(index).map(|before| state.folded.get(&before));
        let mut from = match before {
            None => vec![],
            Some(before) => before?.clone(),
        };
        from.push(index);
        let tests_are_joined = manifest.tests().iter().all(|test| state.has(JOIN, *test));
        state.commits.insert((FOLD.0, index));
        if state.folded.entry(index).or_insert_with(|| from.clone()) != &from {
            state.broken = Some("two intact checkpoints differ");
        }
        Some(if tests_are_joined { Next::OfferEvaluation(index) } else { Next::FoldOn })
    }

    fn begin_report(&self, state: &mut State, number: usize) {
        if self.has_ended(state) {
            Self::release(state, number, Worker::Finished);
            return;
        }
        let manifest = self.manifest(state).filter(|_| self.is_complete(state));
        let then = match manifest {
            None => Next::Ack,
            Some(manifest) if manifest.sealed => Next::Report,
            Some(manifest) => Next::LookBeforeSeal(manifest.next_page),
        };
        if let Worker::Holding { next, .. } = &mut state.workers[number] {
            *next = then;
        }
    }

    /// Adds what is claimable by now, held or not; the item goes where the claim still holds.
    fn acknowledge(&self, state: &mut State, number: usize, item: Step) {
        let next = self.claimable(state, item == Step::Report && state.output);
        if let Worker::Holding { owns: true, .. } = state.workers[number] {
            state.queue.remove(&item);
        }
        state.add(&next);
        state.workers[number] = Worker::Idle;
    }

    fn release(state: &mut State, number: usize, then: Worker) {
        if let Worker::Holding { item, owns: true, .. } = state.workers[number] {
            state.queue.insert(item, Entry::Pending);
        }
        state.workers[number] = then;
    }
}
