//! The operator of a world, who puts datasets on the volume, pushes them and replaces one: what the world's parameters
//! say, and nothing that the volume says.

use worker::contract::{HISTORY, OUTPUT, RunPaths, TESTING};
use worker::hash::Hash;
use worker::manifest::{Dataset, normalise};
use worker::record::Record;
use worker::report::{Report, Tally};

use super::ask::{Ask, QueueReply};
use super::clock::Micros;
use super::params::{LATE_TEST, Params, paths, trained, training};
use super::toy::content_of;
use super::world::{Event, World};

/// The run that ended before.
const EARLIER: &str = "a";
/// What it put into `output/`, and this run does not.
const OF_EARLIER: &str = "model_cpt_2017-12-31";
/// What both put there, unless this run rejects its first dataset.
const OF_BOTH: &str = "model_cpt_2018-04-01";
/// What a user keeps there.
const OWN: (&str, &[u8]) = ("notes.txt", b"mine");
const HIDDEN_FILES: [(&str, &str); 3] =
    [(TESTING, ".2018-05-01.toy.swp"), (TESTING, "2018-05-01.toy~"), (HISTORY, "._2018-03-01.toy")];

/// The hashes of a content's blocks.
pub fn blocks(content: &[u8], block_bytes: u64) -> Vec<Hash> {
    content.chunks(block_bytes as usize).map(Hash::of).collect()
}

impl World {
    /// What lies in `output/` that is no run's, by its name.
    pub fn own_file(&self) -> Option<(&'static str, &'static [u8])> {
        self.params.oddities.earlier_run.then_some(OWN)
    }

    /// Puts the datasets there and pushes those of the beginning.
    pub fn lay_out(&self) {
        let paths = paths(&self.params);
        for path in &paths {
            self.put_dataset(path);
        }
        for path in self.params.pushes.iter().flat_map(|push| &push.paths) {
            if !path.ends_with(LATE_TEST) {
                self.put_dataset(path);
            }
        }
        self.lay_out_oddities();
        self.push_all();
    }

    fn put_dataset(&self, path: &str) {
        let mut server = self.share.server.borrow_mut();
        if let Ok(path) = normalise(path)
            && server.bytes(&path).is_none()
        {
            server.install(0, &path, content_of(&self.params, &path));
        }
    }

    /// The operator pushes everything of the beginning.
    pub fn push_all(&self) {
        if !self.params.listed {
            let _ = self.broker.tell_at_once(&Ask::Push(trained(&self.params)));
        }
    }

    /// Pushes whose call has come.
    pub fn push_what_is_due(&self, number: u64) {
        let done = self.operator.pushes_done.get();
        let Some(push) = self.params.pushes.get(done).filter(|push| push.at <= number) else {
            return;
        };
        self.operator.pushes_done.set(done + 1);
        self.operator.pushed_at.borrow_mut().push(self.now());
        let paths = || push.paths.join(" and ").escape_debug().to_string();
        self.watch.tell(self.now(), "operator", false, || format!("pushes {}", paths()));
        push.paths.iter().for_each(|path| self.put_dataset(path));
        let _ = self.broker.tell_at_once(&Ask::Push(push.paths.clone()));
    }

    /// The operator pushes a dataset that is there again.
    pub fn push_again(&self, path: &str) {
        if !self.params.listed {
            let _ = self.broker.tell_at_once(&Ask::Push(vec![path.to_owned()]));
        }
    }

    /// What is pushed and not taken in.
    pub fn pushed_left(&self) -> Vec<String> {
        match self.broker.tell_at_once(&Ask::Pushed) {
            Ok(QueueReply::Paths(paths)) => paths,
            _ => Vec::new(),
        }
    }

    /// What has been pushed by now, and when.
    pub fn pushed_so_far(&self) -> Vec<(Micros, String)> {
        let at_first = trained(&self.params).into_iter().map(|path| (0, path));
        at_first.chain(self.pushed_later()).collect()
    }

    /// The same without what was pushed before anybody worked.
    fn pushed_later(&self) -> Vec<(Micros, String)> {
        let at = self.operator.pushed_at.borrow();
        let later = at.iter().zip(&self.params.pushes);
        let later = later.flat_map(|(at, push)| push.paths.iter().map(|path| (*at, path.clone())));
        let again = self.operator.changed_at.get().filter(|_| !self.params.listed);
        let again = again.zip(self.params.oddities.change.as_ref());
        later.chain(again.map(|(at, change)| (at, training(change.number)))).collect()
    }

    /// Puts there what no dataset is.
    pub fn lay_out_oddities(&self) {
        let mut server = self.share.server.borrow_mut();
        if self.params.oddities.hidden_files {
            for (folder, name) in HIDDEN_FILES {
                server.install(0, &format!("{folder}/{name}"), b"half a line".to_vec());
            }
        }
        if self.params.oddities.earlier_run {
            let earlier = RunPaths::new(EARLIER);
            let text = "the earlier run's report".to_owned();
            let report =
                Report { files: [("report.txt".to_owned(), text.clone())].into(), tally: Tally::default() };
            let put = serde_json::to_vec(&[OF_EARLIER, OF_BOTH, "report.txt"]).unwrap_or_default();
            for (path, content) in [(earlier.report(), report.encode()), (earlier.projected(), put)] {
                let record = Record::part(Hash::default(), content).encode(earlier.place(&path));
                server.install(0, &path, record);
            }
            let files =
                [("report.txt", text.as_bytes()), (OF_EARLIER, b"a model"), (OF_BOTH, b"an older"), OWN];
            for (name, bytes) in files {
                server.install(0, &format!("{OUTPUT}/{name}"), bytes.to_vec());
            }
        }
    }

    /// Changes a dataset whose time has come.
    pub fn change_what_is_due(&self, number: u64) {
        let Some(change) = &self.params.oddities.change else { return };
        if number < change.at || self.operator.changed_at.get().is_some() {
            return;
        }
        self.operator.changed_at.set(Some(self.now()));
        let path = training(change.number);
        let other = other_content(&self.params, &path);
        self.share.server.borrow_mut().install(self.now(), &path, other);
        self.watch.tell(self.now(), "operator", false, || format!("puts another {path} there"));
        self.push_again(&path);
    }

    /// Abandons the run once its time has come.
    pub fn abandon_what_is_due(&self, number: u64) {
        if self.params.oddities.abandon.is_some_and(|at| number >= at)
            && !self.operator.abandons.replace(true)
        {
            self.watch.tell(self.now(), "operator", false, || "abandons the run".to_owned());
            self.expect(self.now(), Event::Abandon);
        }
    }

    /// The operator knows that the run is abandoned, and pushes what the next one is to begin with.
    pub fn has_abandoned(&self) {
        if self.operator.abandoned_at.get().is_none() {
            self.operator.abandoned_at.set(Some(self.now()));
            self.watch
                .tell(self.now(), "operator", false, || format!("pushes {}", for_the_next(&self.params)));
            let path = for_the_next(&self.params);
            self.put_dataset(&path);
            self.push_again(&path);
        }
    }

    /// What was pushed once the run was known to be abandoned.
    pub fn pushed_for_the_next(&self) -> Option<String> {
        self.operator.abandoned_at.get().filter(|_| !self.params.listed).map(|_| for_the_next(&self.params))
    }

    /// Whether a dataset is not what it was when the world began.
    pub fn has_changed(&self) -> bool {
        self.operator.changed_at.get().is_some()
    }

    /// Whether that happened at a time or later.
    pub fn has_changed_since(&self, time: Micros) -> bool {
        self.operator.changed_at.get().is_some_and(|at| at >= time)
    }

    /// The contents that a path has had from a time on, as the world was made and not as its volume is; none of a
    /// path that nobody has put there.
    pub fn contents_since(&self, at: Micros, path: &str) -> Vec<Vec<u8>> {
        let pushed =
            || self.pushed_later().iter().any(|(_, pushed)| normalise(pushed).is_ok_and(|it| it == path));
        let known = self.operator.beginning.contains(path) || pushed();
        let change = self.params.oddities.change.as_ref().filter(|change| training(change.number) == path);
        let changed = change.and_then(|_| self.operator.changed_at.get());
        let first = content_of(&self.params, path);
        let other = changed.map(|_| other_content(&self.params, path));
        let first = Some(first).filter(|_| changed.is_none_or(|changed| at <= changed));
        if known { first.into_iter().chain(other).collect() } else { Vec::new() }
    }

    /// The content that a dataset of the manifest must have.
    pub fn content_of(&self, dataset: &Dataset) -> Option<Vec<u8>> {
        let size = self.params.oddities.block_bytes;
        let contents = self.contents_since(0, &dataset.path);
        contents.into_iter().find(|content| blocks(content, size) == dataset.blocks)
    }

    /// Whether the run holds a dataset whose content has changed since: then nobody can finish it.
    pub fn has_lost_a_dataset(&self, datasets: &[Dataset]) -> bool {
        let Some(change) = self.params.oddities.change.as_ref().filter(|_| self.has_changed()) else {
            return false;
        };
        let path = training(change.number);
        let now = blocks(&other_content(&self.params, &path), self.params.oddities.block_bytes);
        datasets.iter().any(|dataset| dataset.path == path && dataset.blocks != now)
    }
}

/// A day after all others.
fn for_the_next(params: &Params) -> String {
    training(params.train + 40)
}

/// What a dataset becomes: of as many steps, and in half of the worlds of another length.
fn other_content(params: &Params, path: &str) -> Vec<u8> {
    let mut content = content_of(params, path);
    match content.last_mut().filter(|_| params.steps % 2 == 1) {
        Some(last) => *last = b'!',
        None => content.extend(b" again"),
    }
    content
}
