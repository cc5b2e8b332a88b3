//! Whether what the simulated world did is what the exhaustive model can do: the pages, commits, report and output of
//! a world, in the order in which they became public, must be those of a path of the model. So neither can drift from
//! the other.

use std::collections::HashSet;

use sim::world::run::Outcome;
use sim::world::toy::PIPELINE;
use stateright::Model;
use worker::contract::RunPaths;
use worker::manifest::Page;
use worker::record::Record;
use worker::workload::Outcome as Content;

use super::{Protocol, State, Written};

/// Something that became public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Public {
    Page(Written),
    Commit(u8, u32),
    Report,
    Output,
}

/// What a world made public, oldest first. Its datasets are those of the model: A, T, and B, which is pushed later.
///
/// # Errors
/// With a path that the model does not know.
pub fn made_public(outcome: &Outcome) -> Result<Vec<Public>, String> {
    outcome.linked.iter().map(|(path, bytes)| public(path, bytes)).collect()
}

fn public(path: &str, bytes: &[u8]) -> Result<Public, String> {
    let paths = RunPaths::new(sim::world::RUN);
    let place = paths.place(path);
    if path == paths.report() {
        return Ok(Public::Report);
    }
    if path == paths.projected() {
        return Ok(Public::Output);
    }
    let unknown = || format!("the model knows nothing like {path}");
    let (folder, name) = place.rsplit_once('/').ok_or_else(unknown)?;
    let number: u32 = name.parse().map_err(|_| unknown())?;
    if path == paths.chapter(number) {
        return written(bytes).map(Public::Page).ok_or_else(unknown);
    }
    let stage = PIPELINE.stages().find(|stage| PIPELINE.folder(*stage) == folder);
    stage.map(|stage| Public::Commit(stage.0, number)).ok_or_else(unknown)
}

fn written(bytes: &[u8]) -> Option<Written> {
    let Content::Part(content) = Record::decode(bytes.to_vec()).ok()?.outcome else { return None };
    Some(match Page::decode(&content).ok()? {
        Page::First { datasets, .. } => Written::First { with_b: datasets.len() > 2 },
        Page::Chapter { .. } => Written::ChapterB,
        Page::Seal { .. } => Written::Seal,
    })
}

/// What a step of the model made public.
fn made(before: &State, after: &State) -> Option<Public> {
    if after.pages.len() > before.pages.len() {
        return after.pages.last().copied().map(Public::Page);
    }
    if let Some((stage, index)) = after.commits.difference(&before.commits).next() {
        return Some(Public::Commit(*stage, *index));
    }
    if after.report.is_some() && before.report.is_none() {
        return Some(Public::Report);
    }
    (after.output && !before.output).then_some(Public::Output)
}

/// How many of the steps that made something public a path of the model follows: all of them, where the trace is one
/// of the model's.
pub fn follows(model: &Protocol, trace: &[Public]) -> usize {
    let mut states = quiet(model, model.init_states().into_iter().collect());
    for (number, public) in trace.iter().enumerate() {
        let mut next = HashSet::new();
        for state in &states {
            next.extend(after(model, state).filter(|other| made(state, other) == Some(*public)));
        }
        if next.is_empty() {
            return number;
        }
        states = quiet(model, next);
    }
    trace.len()
}

fn after<'a>(model: &'a Protocol, state: &'a State) -> impl Iterator<Item = State> + 'a {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    actions.into_iter().filter_map(|action| model.next_state(state, action))
}

/// The states, and all that follow them with nothing made public.
fn quiet(model: &Protocol, mut states: HashSet<State>) -> HashSet<State> {
    let mut open: Vec<State> = states.iter().cloned().collect();
    while let Some(state) = open.pop() {
        for other in after(model, &state).filter(|other| made(&state, other).is_none()) {
            if states.insert(other.clone()) {
                open.push(other);
            }
        }
    }
    states
}
