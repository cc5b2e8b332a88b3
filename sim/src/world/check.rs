//! What must hold when a run is done: read from the volume and from the queue, compared with results that the
//! workload alone makes, with no worker, from the contents in the world's parameters (`content_of`). The manifest
//! gives only the order.

mod left;
mod shown;
mod told;

pub use left::{is_left, left};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;
use worker::contract::{Exit, FOLDER_COMMITS, HISTORY, OUTPUT, RunPaths, TESTING};
use worker::hash::Hash;
use worker::manifest::{Manifest, Page, Refusal, Role, is_hidden, normalise};
use worker::path::folder_of;
use worker::pipeline::Stage;
use worker::record::Record;
use worker::report::{Report, Tally};
use worker::workload::days::{day_of, oldest_first};
use worker::workload::{Outcome, Part, ReportInput, Workload};

use super::broken::Broken;
use super::clock::Micros;
use super::fault::FaultKind;
use super::nfs::Server;
use super::operator::blocks;
use super::params::{CREATED, Params, Results, paths};
use super::toy::{self, Toy, salt_of};
use super::watch::{Sometimes, Watch};
use super::world::{RUN, World};
use shown::names_of_checkpoints;

/// Everything that must be on the volume once anybody has ended with a complete run, and with this code.
pub fn complete(world: &World, exit: Option<Exit>, vouched: &mut Vouched) -> Vec<Broken> {
    judge(world, &world.share.server.borrow(), exit, vouched).0
}

/// Commits that were found to hold what they must, so that none is looked at twice: by their path, what they were made
/// from, and their bytes.
#[derive(Debug, Default)]
pub struct Vouched {
    manifest: Option<Manifest>,
    commits: BTreeMap<String, (Hash, Vec<u8>, Record)>,
}

impl Vouched {
    /// What was found by another manifest says nothing.
    fn begin(&mut self, manifest: &Manifest) {
        if self.manifest.as_ref() != Some(manifest) {
            *self = Self { manifest: Some(manifest.clone()), commits: BTreeMap::new() };
        }
    }

    fn find(&self, path: &str, parent: Hash, bytes: &[u8]) -> Option<Record> {
        let (made_from, held, record) = self.commits.get(path)?;
        (*made_from == parent && held == bytes).then(|| record.clone())
    }
}

/// The same, and the manifest, if it is whole and sealed.
fn judge(
    world: &World,
    server: &Server,
    exit: Option<Exit>,
    vouched: &mut Vouched,
) -> (Vec<Broken>, Option<Manifest>) {
    let mut check = Check::new(world, server);
    let (manifest, tally) = match check.manifest() {
        Ok((manifest, pages)) => {
            vouched.begin(&manifest);
            let tally = check.results(&manifest, pages, vouched);
            (Some(manifest), tally)
        }
        Err(why) => {
            check.say(why);
            (None, Tally::default())
        }
    };
    if let Some(exit) = exit.filter(|exit| check.broken.is_empty() && *exit != tally.exit(false)) {
        check.say(format!("a worker ended with {exit:?} where the run came to {tally:?}"));
    }
    // Where a workload lies, one may be found after somebody has finished.
    if world.params.results != Results::Lie && server.bytes(&check.paths.violation()).is_some() {
        check.say("a violation is committed".to_owned());
    }
    for _ in 0..tally.rejected {
        world.watch.met(Sometimes::Rejected);
    }
    (check.broken, manifest)
}

/// What a worker that exited 0 spoke of: a loss of power right after it takes nothing of that.
pub fn lasting(world: &World) -> Vec<Broken> {
    let server = world.share.server.borrow();
    let paths = RunPaths::new(RUN);
    let folders = [OUTPUT.to_owned(), paths.manifest()];
    let said = folders.iter().flat_map(|folder| server.files(folder));
    let report = server.bytes(&paths.report()).map(|bytes| (paths.report(), bytes.to_vec()));
    let lost = said.chain(report).filter(|(path, bytes)| server.lasting_bytes(path) != Some(bytes));
    lost.map(|(path, _)| Broken::effect(format!("{path} would not survive a loss of power"))).collect()
}

/// Everything that must hold once every machine is done.
pub fn afterwards(world: &World, vouched: &mut Vouched) -> Vec<Broken> {
    let server = world.share.server.borrow();
    let (mut broken, manifest) = judge(world, &server, None, vouched);
    let needed = manifest.as_ref().map_or(0, |manifest| steps_needed(&server, manifest));
    if let Some(manifest) = &manifest {
        broken.extend(pushes(world, manifest));
        broken.extend(versions(world, manifest));
    }
    broken.extend(told::events(world, &server));
    broken.extend(waste(world, needed));
    for path in world.watch.won_twice() {
        if !world.watch.is_damaged(&path) {
            broken.push(Broken::effect(format!("two attempts say that they were first at {path}")));
        }
    }
    broken
}

/// Every push was accepted, refused in the manifest, or came too late for the seal; unless the queue lost it.
fn pushes(world: &World, manifest: &Manifest) -> Vec<Broken> {
    if world.params.listed || world.watch.has_queue_lost_something() {
        return Vec::new();
    }
    let is_refused = |path: &str| manifest.refused.iter().any(|refusal| refusal.path == path);
    let left = world.pushed_left();
    // An operator that wants to abandon the run seals it, whatever is pushed.
    let late =
        |at: Micros| world.operator.abandons.get() || world.watch.sealed().is_some_and(|sealed| at >= sealed);
    let lost = world.pushed_so_far().into_iter().filter(|(at, path)| {
        let size = world.params.oddities.block_bytes;
        let accepted = normalise(path).is_ok_and(|path| {
            let held = manifest.by_path(&path).map(|dataset| &dataset.blocks);
            world.contents_since(*at, &path).iter().any(|content| held == Some(&blocks(content, size)))
        });
        !(accepted || is_refused(path) || left.contains(path) && late(*at))
    });
    lost.map(|(_, path)| Broken::effect(format!("the push of {path:?} is lost"))).collect()
}

/// Whether a dataset of the run has changed since it was hashed: then nobody can finish the run.
pub fn has_lost_a_dataset(world: &World) -> bool {
    let server = world.share.server.borrow();
    Check::new(world, &server).pages().is_ok_and(|(manifest, _)| world.has_lost_a_dataset(&manifest.datasets))
}

/// Steps that the run's datasets take, each once.
fn steps_needed(server: &Server, manifest: &Manifest) -> u64 {
    let contents = manifest.datasets.iter().filter_map(|dataset| server.bytes(&dataset.path));
    contents.filter(|content| !toy::is_bad(content)).map(toy::steps_of).sum()
}

/// Everybody who took part makes the results version of the run.
fn versions(world: &World, manifest: &Manifest) -> Option<Broken> {
    let mut versions = world.watch.versions();
    versions.remove(&manifest.spec.results_version);
    let other = versions.pop_first()?;
    Some(Broken::effect(format!("a worker of results version {other} took part")))
}

/// Recomputed work has a bound: zero if nothing went wrong. A machine that goes costs the work between
/// two saves of its progress; any other fault costs a few of each machine's results.
fn waste(world: &World, needed: u64) -> Vec<Broken> {
    let tally = world.watch.tally();
    let machines = world.machines.borrow().len() as u64;
    let mut broken = Vec::new();
    // After a power loss, results that are left may have been made from lost ones: all are recomputed.
    let is_power = |what: &FaultKind| matches!(what, FaultKind::PowerLoss { .. });
    let after_power_loss = if world.has_faults(is_power) { tally.faults * world.params.items() } else { 0 };
    let redone_max = 2 * tally.faults * machines + after_power_loss;
    if tally.redone > redone_max {
        let detail = format!("{} results were recomputed, {redone_max} may be", tally.redone);
        broken.push(Broken::waste(detail));
    }
    let params = &world.params;
    let interval = params.progress_ms * 1_000 / params.step_us.0 + 2;
    let again_max = if !world.has_faults(|what| !what.takes_a_machine()) {
        // The machine may go while it saves.
        tally.faults * 2 * interval
    } else {
        // A disk that is full for a while is tried again and again, with a growing delay.
        tally.faults * machines * 8 * u64::from(params.steps)
    };
    let again = world.steps().saturating_sub(needed);
    if again > again_max {
        broken.push(Broken::waste(format!("{again} steps were recomputed, {again_max} may be")));
    }
    broken
}

struct Check<'a> {
    world: &'a World,
    server: &'a Server,
    paths: RunPaths,
    /// Files that are damaged after they were committed may stay so: nobody need have read them since.
    watch: &'a Watch,
    broken: Vec<Broken>,
}

impl<'a> Check<'a> {
    fn new(world: &'a World, server: &'a Server) -> Self {
        Self { world, server, paths: RunPaths::new(RUN), watch: &world.watch, broken: Vec::new() }
    }

    fn say(&mut self, detail: String) {
        self.broken.push(Broken::new("effect", detail));
    }

    fn record(&self, path: &str) -> Result<Record, String> {
        let bytes = self.server.bytes(path).ok_or_else(|| format!("{path} is missing"))?;
        Record::decode(bytes.to_vec()).map_err(|damage| format!("{path} is {damage}"))
    }

    /// The chapters as one and by themselves, if they are whole and sealed.
    fn manifest(&self) -> Result<(Manifest, Vec<Page>), String> {
        let (manifest, pages) = self.pages()?;
        if !manifest.sealed {
            self.page(manifest.next_page).map_err(|why| format!("the run is not sealed: {why}"))?;
        }
        Ok((manifest, pages))
    }

    /// The chapters as one and by themselves, as far as they are there.
    fn pages(&self) -> Result<(Manifest, Vec<Page>), String> {
        let mut pages = vec![self.page(0)?];
        let mut manifest = Manifest::begin(pages[0].clone()).map_err(|why| why.to_string())?;
        while !manifest.sealed
            && let Ok(next) = self.page(manifest.next_page)
        {
            pages.push(next.clone());
            manifest.turn(next).map_err(|why| why.to_string())?;
        }
        Ok((manifest, pages))
    }

    /// Compares every commit, the report and the output with what the manifest's datasets give.
    /// Returns what the run must come to.
    fn results(&mut self, manifest: &Manifest, pages: Vec<Page>, vouched: &mut Vouched) -> Tally {
        self.chapters(manifest, pages);
        let same = Params { results: Results::Same, ..self.world.params.clone() };
        let toy = Toy::new(&same, toy::VERSION, 0, &Arc::default());
        let mut made = Made { vouched, parts: BTreeMap::new(), rejected: BTreeMap::new(), model: None };
        for dataset in &manifest.datasets {
            let content = self.world.content_of(dataset);
            if content.as_ref().is_none_or(|content| content.len() as u64 != dataset.bytes) {
                self.say(format!("{} is not what the manifest says", dataset.path));
            }
            self.stages(&mut made, manifest, dataset.index, &content.unwrap_or_default());
        }
        self.evaluations(&mut made, manifest);
        self.nothing_else(manifest, &made);
        self.report(&toy, manifest, &made)
    }

    /// Checks what the manifest must say, independent of the worker that began the run, and of the time.
    fn chapters(&mut self, manifest: &Manifest, pages: Vec<Page>) {
        let mut once = BTreeSet::new();
        for dataset in manifest.datasets.iter().filter(|dataset| !once.insert(&dataset.path)) {
            self.say(format!("{} is in the manifest twice", dataset.path));
        }
        if manifest.created != CREATED {
            self.say(format!("the run was created on {}, its launcher said {CREATED}", manifest.created));
        }
        self.beginning(manifest);
        let mut newest = None;
        let mut refused = BTreeSet::new();
        for (number, page) in (0..).zip(pages) {
            let (Page::First { datasets, refused: refusals, .. }
            | Page::Chapter { datasets, refused: refusals }) = page
            else {
                continue;
            };
            for Refusal { path, reason } in refusals {
                if !refused.insert(path.clone()) {
                    self.say(format!("{path:?} is refused twice"));
                }
                let has_changed = self.world.has_changed() && manifest.by_path(&path).is_some();
                if may_be_taken(&path, number, newest) && !has_changed {
                    self.say(format!("{path:?} is refused, which could be taken in: {reason}"));
                }
            }
            let mut paths: Vec<String> = datasets.into_iter().map(|dataset| dataset.path).collect();
            for path in paths.iter().filter(|path| !may_be_taken(path, number, newest)) {
                self.say(format!("{path:?} is taken into chapter {number}, which has to be refused"));
            }
            let as_committed = paths.clone();
            oldest_first(&mut paths);
            if paths != as_committed {
                self.say(format!("chapter {number} is not sorted oldest first"));
            }
            let days =
                paths.iter().filter(|path| Role::of(path) != Role::Test).filter_map(|path| day_of(path));
            newest = newest.max(days.max());
        }
    }

    /// What was there in the beginning is in the run, and each dataset has the role of its folder.
    fn beginning(&mut self, manifest: &Manifest) {
        let params = &self.world.params;
        let given = paths(params);
        let trains = |path: &String| !path.starts_with(TESTING) && !path.starts_with(HISTORY);
        // What was pushed is looked for elsewhere: the queue may lose it.
        let needed = given.iter().filter(|path| params.listed || !trains(path));
        let missing: Vec<&String> = needed.filter(|path| manifest.by_path(path).is_none()).collect();
        for path in missing {
            self.say(format!("{path} is not in the manifest"));
        }
        if params.listed && manifest.datasets.len() != given.len() {
            self.say(format!("the run is of {} datasets, {} were listed", manifest.len(), given.len()));
        }
        for dataset in &manifest.datasets {
            let role = match folder_of(&dataset.path) {
                TESTING => Role::Test,
                HISTORY => Role::History,
                _ => Role::Train,
            };
            if dataset.role != role {
                self.say(format!("{} is taken for one of {:?}", dataset.path, dataset.role));
            }
        }
    }

    fn page(&self, number: u32) -> Result<Page, String> {
        let path = self.paths.chapter(number);
        match self.record(&path)?.outcome {
            Outcome::Part(content) => Page::decode(&content).map_err(|why| format!("{path}: {why}")),
            Outcome::Rejected(_) => Err(format!("{path} is no page")),
        }
    }

    /// One commit, compared with the outcome that `expected` makes with the commit's own salt.
    fn commit(
        &mut self,
        made: &mut Made<'_>,
        stage: Stage,
        index: u32,
        parents: &[Hash],
        expected: impl FnOnce(&[u8]) -> Outcome,
    ) {
        let path = self.paths.commit(toy::PIPELINE.folder(stage), index);
        let parent = Hash::of_fields(parents.iter().map(|hash| &hash.0[..]));
        let held = self.server.bytes(&path).unwrap_or_default();
        let vouched = made.vouched.find(&path, parent, held);
        let record = match vouched.map_or_else(|| self.verify(made, &path, parent, expected), Ok) {
            Ok(record) => record,
            Err(None) => return,
            Err(Some(damaged)) => return made.keep(stage, index, damaged),
        };
        // A block may be torn after the result was found right.
        if let Outcome::Part(bytes) = &record.outcome
            && let Some((hash, block)) = toy::refers_to(bytes)
            && self.server.bytes(&self.paths.block(hash)) != Some(&block)
        {
            self.say(format!("{path} refers to a block that is missing or torn"));
        }
        made.keep(stage, index, record);
    }

    /// The record at a path, held against what must be there; or, of a damaged one, what was there.
    fn verify(
        &mut self,
        made: &mut Made<'_>,
        path: &str,
        parent: Hash,
        expected: impl FnOnce(&[u8]) -> Outcome,
    ) -> Result<Record, Option<Record>> {
        let record = match self.record(path) {
            Ok(record) => record,
            Err(_) if self.watch.is_damaged(path) => {
                return Err(Some(Record::new(parent, expected(&[]))));
            }
            Err(why) => {
                self.say(why);
                return Err(None);
            }
        };
        let salt = match &record.outcome {
            Outcome::Part(bytes) => salt_of(bytes).to_vec(),
            Outcome::Rejected(_) => Vec::new(),
        };
        let is_right = record.outcome == expected(&salt);
        if !is_right {
            self.say(format!("{path} does not hold what an undisturbed run gives"));
        }
        if record.parent != parent {
            self.say(format!("{path} was not made from what is committed before it"));
        } else if is_right {
            let held = self.server.bytes(path).unwrap_or_default().to_vec();
            made.vouched.commits.insert(path.to_owned(), (parent, held, record.clone()));
        }
        Ok(record)
    }

    fn stages(&mut self, made: &mut Made<'_>, manifest: &Manifest, index: u32, content: &[u8]) {
        let (dataset, spec) = (manifest.dataset(index), manifest.spec.hash());
        let large = self.world.params.large;
        let prepared = |salt: &[u8]| toy::prepared(content, salt, large);
        self.commit(made, toy::PREPARE, index, &[spec, dataset.hash()], prepared);
        if dataset.role == Role::History {
            return;
        }
        let own = made.part(toy::PREPARE, index);
        let mut parents = vec![spec, made.hash(toy::PREPARE, index)];
        let window = index.saturating_sub(toy::WINDOW)..index;
        parents.extend(window.clone().map(|before| made.hash(toy::PREPARE, before)));
        let Some(own) = own else {
            made.rejected.insert(index, toy::BAD_REASON.to_owned());
            self.commit(made, toy::JOIN, index, &parents, |_| toy::rejected());
            if dataset.role == Role::Train {
                self.fold(made, manifest, index, None);
            }
            return;
        };
        let mut fields: Vec<Vec<u8>> =
            vec![b"join".to_vec(), dataset.path.clone().into(), toy::read(&own.bytes)];
        for before in window {
            fields.extend(made.part(toy::PREPARE, before).map(|part| toy::read(&part.bytes)));
        }
        let joined = |salt: &[u8]| toy::made(&fields, salt, false);
        self.commit(made, toy::JOIN, index, &parents, joined);
        if dataset.role == Role::Train {
            self.fold(made, manifest, index, made.part(toy::JOIN, index));
        }
    }

    fn fold(&mut self, made: &mut Made<'_>, manifest: &Manifest, index: u32, joined: Option<Part>) {
        let before = manifest.train_before(index);
        let chain = before.map_or_else(Hash::default, |before| made.hash(toy::FOLD, before));
        let parents = [manifest.spec.hash(), chain, made.hash(toy::JOIN, index)];
        let (model, large) = (made.model.clone(), self.world.params.large);
        let folded = |salt: &[u8]| match &joined {
            None => toy::rejected(),
            Some(joined) => {
                let previous = model.map_or_else(Vec::new, |model| toy::read(&model.bytes));
                let lineage = manifest.lineage(index).0.to_vec();
                toy::made(&[b"fold".to_vec(), previous, joined.bytes.to_vec(), lineage], salt, large)
            }
        };
        self.commit(made, toy::FOLD, index, &parents, folded);
        made.model = made.part(toy::FOLD, index).or(made.model.take());
    }

    fn evaluations(&mut self, made: &mut Made<'_>, manifest: &Manifest) {
        for dataset in manifest.datasets.iter().filter(|dataset| dataset.role == Role::Train) {
            let index = dataset.index;
            let (checkpoint, joined) = (made.part(toy::FOLD, index), made.part(toy::JOIN, index));
            let mut parents =
                vec![manifest.spec.hash(), made.hash(toy::FOLD, index), made.hash(toy::JOIN, index)];
            let mut fields = vec![b"evaluate".to_vec()];
            fields.extend([&checkpoint, &joined].into_iter().flatten().map(|part| toy::read(&part.bytes)));
            for test in manifest.tests() {
                parents.push(made.hash(toy::JOIN, *test));
                fields.extend(made.part(toy::JOIN, *test).map(|part| part.bytes.to_vec()));
            }
            self.commit(made, toy::EVALUATE, index, &parents, |salt| match checkpoint {
                Some(_) => toy::made(&fields, salt, false),
                None => toy::rejected(),
            });
        }
    }

    /// Public folders hold the commits and nothing that no dataset explains.
    fn nothing_else(&mut self, manifest: &Manifest, made: &Made<'_>) {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (stage, index) in made.parts.keys() {
            let folder = self.paths.folder(toy::PIPELINE.folder(*stage), index / FOLDER_COMMITS);
            expected.entry(folder).or_default().insert(index.to_string());
        }
        let pages = manifest.next_page;
        expected.insert(self.paths.manifest(), (0..pages).map(|page| page.to_string()).collect());
        for (folder, names) in &expected {
            for name in self.server.names(folder) {
                let leftover = name.starts_with("probe-") || name.starts_with(".nfs");
                let later = expected.contains_key(&format!("{folder}/{name}"));
                if !names.contains(name) && !leftover && !later {
                    self.say(format!("{folder}/{name} belongs to no dataset"));
                }
            }
        }
    }

    fn report(&mut self, toy: &Toy, manifest: &Manifest, made: &Made<'_>) -> Tally {
        let evals: Vec<Part> =
            (0..manifest.len()).filter_map(|index| made.part(toy::EVALUATE, index)).collect();
        let files = toy.report(&ReportInput {
            created: &manifest.created,
            datasets: &manifest.datasets,
            own_from: 0,
            rejected: &made.rejected,
            refused: &manifest.refused,
            evals: &evals,
            model: made.model.as_ref(),
            end: None,
        });
        let files = files.unwrap_or_default();
        let training = manifest.datasets.iter().filter(|dataset| dataset.role == Role::Train).count();
        if self.world.params.oddities.same_stem {
            self.watch.met(Sometimes::SameStem);
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let tally = Tally {
            training: count(training),
            trained: count(evals.len()),
            rejected: count(made.rejected.len()),
            refused: count(manifest.refused.len()),
        };
        let committed = self.record(&self.paths.report()).map(|record| record.outcome);
        let expected = Outcome::Part(Report { files: files.clone(), tally }.encode());
        match committed {
            Ok(outcome) if outcome == expected => {}
            Err(_) if self.watch.is_torn(&self.paths.report()) => {}
            Ok(_) => self.say("the report is not that of an undisturbed run".to_owned()),
            Err(why) => self.say(why),
        }
        let mut outputs: BTreeMap<String, Vec<u8>> =
            files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
        for (index, name) in names_of_checkpoints(manifest) {
            if let Some(part) = made.part(toy::FOLD, index) {
                outputs.insert(name, toy::shown(&part.bytes));
            }
        }
        self.marked(&outputs);
        if let Some((name, bytes)) = self.world.own_file() {
            outputs.insert(name.to_owned(), bytes.to_vec());
            self.watch.met(Sometimes::EarlierOutput);
        }
        for (name, bytes) in &outputs {
            if self.server.bytes(&format!("{OUTPUT}/{name}")) != Some(bytes) {
                self.say(format!("{OUTPUT}/{name} is not that of an undisturbed run"));
            }
        }
        for name in self.server.names(OUTPUT) {
            if !outputs.contains_key(name) && !name.starts_with(".nfs") {
                self.say(format!("{OUTPUT}/{name} belongs to no dataset"));
            }
        }
        tally
    }
}

/// Whether a path that was pushed could have become part of the run, after chapters of which this was the newest
/// day.
fn may_be_taken(path: &str, chapter: u32, newest: Option<Date>) -> bool {
    let Ok(path) = normalise(path) else { return false };
    let is_late_test = chapter > 0 && Role::of(&path) == Role::Test;
    let is_older = day_of(&path).is_some() && day_of(&path) < newest;
    !is_hidden(&path) && !is_late_test && !is_older
}

/// What the commits hold, as far as it was checked.
struct Made<'v> {
    vouched: &'v mut Vouched,
    parts: BTreeMap<(Stage, u32), (Hash, Option<Part>)>,
    rejected: BTreeMap<u32, String>,
    model: Option<Part>,
}

impl Made<'_> {
    fn keep(&mut self, stage: Stage, index: u32, record: Record) {
        let hash = record.hash();
        let part = match record.outcome {
            Outcome::Part(bytes) => Some(Part { stage, index, hash, bytes: bytes.into() }),
            Outcome::Rejected(_) => None,
        };
        self.parts.insert((stage, index), (hash, part));
    }

    fn hash(&self, stage: Stage, index: u32) -> Hash {
        self.parts.get(&(stage, index)).map_or_else(Hash::default, |(hash, _)| *hash)
    }

    fn part(&self, stage: Stage, index: u32) -> Option<Part> {
        self.parts.get(&(stage, index))?.1.clone()
    }
}
