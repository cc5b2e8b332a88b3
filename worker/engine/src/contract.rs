//! Everything that launchers, workers and checkers must agree on: paths on the volume, keys in
//! Redis, exit codes, sizes. Arguments and environment are declared in the program's `cli`.

use crate::hash::Hash;
use crate::item::Name;

/// Version of the formats on the volume: manifest, commits, events, progress files.
pub const FORMAT_VERSION: u32 = 4;

/// Datasets are hashed in blocks of this size, so that a change is found where it is and long
/// hashing can be resumed.
pub const BLOCK_BYTES: u64 = 8 << 20;

/// Where training datasets lie, relative to the volume.
pub const TRAINING: &str = "datasets/training";
/// Where test datasets lie; every file in it when a run begins is one.
pub const TESTING: &str = "datasets/testing";
/// Datasets that serve for features only.
pub const HISTORY: &str = "datasets/history";
/// What the tutorial's user looks for: checkpoints and the report.
pub const OUTPUT: &str = "output";
/// The volume's own folder.
pub const ROOT: &str = "";
/// The folder of all runs.
pub const RUNS: &str = "runs";

/// Commits to a folder: a worker that looks for new ones lists whole folders.
pub const FOLDER_COMMITS: u32 = 1000;

/// How the name of a folder of later commits begins, among the first ones.
const LATER: &str = "from-";

/// Whether a name among a stage's commits is that of a folder of later ones.
pub fn is_later(name: &str) -> bool {
    name.starts_with(LATER)
}

/// The Redis list, and the SQLite table, that paths are pushed to; the tutorial's name.
pub const PUSHED: &str = "datasets";

/// Prefix of the Redis keys of one run on one volume. The braces keep them in one cluster slot.
pub fn redis_prefix(volume: &str, run: &str) -> String {
    format!("{PUSHED}:{{{volume}:{run}}}")
}

/// The paths of one run, relative to the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPaths {
    root: String,
}

impl RunPaths {
    /// The paths of the run of this name.
    pub fn new(run: &str) -> Self {
        Self { root: format!("{RUNS}/{run}") }
    }

    /// The run's own folder.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A path's name inside its run, which a record carries.
    pub fn place<'p>(&self, path: &'p str) -> &'p str {
        let inside = path.strip_prefix(RUNS).and_then(|rest| rest.strip_prefix('/'));
        inside.and_then(|rest| rest.split_once('/')).map_or(path, |(_, place)| place)
    }

    /// A path in the run's folder.
    fn inside(&self, path: &str) -> String {
        [&self.root, "/", path].concat()
    }

    /// The folder of the manifest's pages.
    pub fn manifest(&self) -> String {
        self.inside("manifest")
    }

    /// Chapter `number`, or the seal in its place.
    pub fn chapter(&self, number: u32) -> String {
        [&self.root, "/manifest/", &number.to_string()].concat()
    }

    /// Where the first [`FOLDER_COMMITS`] of a stage's commits lie, and the folders of the later ones. `stage` is
    /// the stage's folder, as its pipeline names it.
    pub fn stage(&self, stage: &str) -> String {
        self.inside(stage)
    }

    /// The folder, counted from 0, of a dataset's commits of a stage: `prepared`, `prepared/from-1000`…
    pub fn folder(&self, stage: &str, number: u32) -> String {
        match number {
            0 => self.stage(stage),
            _ => format!("{}/{LATER}{}", self.stage(stage), u64::from(number) * u64::from(FOLDER_COMMITS)),
        }
    }

    /// Where a stage of a dataset is committed; `stage` is its folder.
    pub fn commit(&self, stage: &str, index: u32) -> String {
        [&self.folder(stage, index / FOLDER_COMMITS), "/", &index.to_string()].concat()
    }

    /// The folder of the blocks that results refer to.
    pub fn blocks(&self) -> String {
        self.inside("blocks")
    }

    /// Where such a block lies, below the first two digits of its hash.
    pub fn block(&self, hash: Hash) -> String {
        let hash = hash.to_string();
        format!("{}/{}/{hash}", self.blocks(), &hash[..2])
    }

    /// The committed report.
    pub fn report(&self) -> String {
        self.inside("report")
    }

    /// Present once `output/` has held all of the run: it may have become another's since.
    pub fn projected(&self) -> String {
        self.inside("projected")
    }

    /// Present once two intact results of one item differed: nobody exits 0 any more.
    pub fn violation(&self) -> String {
        self.inside("violation")
    }

    /// The folder of what attempts leave on the way.
    pub fn attempts(&self) -> String {
        self.inside("attempts")
    }

    /// The private folder of one attempt. Item, token and nonce make it unique among all attempts.
    pub fn attempt(&self, item: Name, token: u64, nonce: u128) -> String {
        format!("{}/attempts/{}-{token}-{nonce:032x}", self.root, item.file_name())
    }

    /// The item and the token of an attempt, by the name of its folder, or of a private file, which a number follows.
    pub fn of_attempt(name: &str) -> Option<(Name, u64)> {
        let is_nonce = |part: &str| part.len() == 32;
        let name = match name.rsplit_once('-')? {
            (_, last) if is_nonce(last) => name,
            (before, _) => before,
        };
        let (name, _) = name.rsplit_once('-').filter(|(_, nonce)| is_nonce(nonce))?;
        let (item, token) = name.rsplit_once('-')?;
        Some((Name::of_file_name(item)?, token.parse().ok()?))
    }

    /// The folder of the workers' event files.
    pub fn events(&self) -> String {
        self.inside("events")
    }

    /// Every folder that a run needs before its first page; those of stages are made with their first commit.
    pub fn folders(&self) -> Vec<String> {
        vec![RUNS.to_owned(), self.root.clone(), self.manifest(), self.attempts(), self.events()]
    }
}

/// How a worker ended. The numbers are public: Jobs, scripts and the simulator act on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// The run is sealed, every dataset has taken effect, the report is written.
    Finished = 0,
    /// Something that no other code names.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// No run was named, none is open, and no dataset was given or pushed.
    NoDatasets = 3,
    /// A dataset is missing, or its content is no longer what the manifest says.
    Input = 4,
    /// The volume cannot do what commits need (hard links, permissions, another file system).
    Volume = 5,
    /// The queue refuses us (password, database), or cannot be reached at the start.
    Queue = 6,
    /// The run was begun by a worker of another version.
    Version = 7,
    /// A committed file is damaged beyond repair.
    Damaged = 8,
    /// The run is complete, and nothing could be trained on; or something was rejected or refused, and the worker was
    /// asked to fail then.
    LeftOut = 9,
    /// Workers died at one item again and again, and none made progress.
    Deliveries = 10,
    /// The run was left: its operator abandoned it, or freed what it held.
    Left = 11,
    /// Told to stop (SIGTERM, SIGINT); the held item was released. Start another worker.
    Preempted = 75,
    /// Two intact results of one item differ: the run is void.
    Violation = 86,
    /// The simulator's checks found the promise broken.
    Check = 87,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Self; 15] = [
        Self::Finished,
        Self::Failed,
        Self::Usage,
        Self::NoDatasets,
        Self::Input,
        Self::Volume,
        Self::Queue,
        Self::Version,
        Self::Damaged,
        Self::LeftOut,
        Self::Deliveries,
        Self::Left,
        Self::Preempted,
        Self::Violation,
        Self::Check,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether a worker that ended with this code says that its run is sealed and reported.
    pub fn is_complete(code: i32) -> bool {
        [Self::Finished, Self::LeftOut].iter().any(|exit| i32::from(exit.code()) == code)
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Finished => "the run is sealed and its report is written",
            Self::Failed => "an error that no other code names",
            Self::Usage => "wrong arguments",
            Self::NoDatasets => "no run and no datasets were found",
            Self::Input => "a dataset is missing or has changed since the run began",
            Self::Volume => "the volume cannot do what commits need",
            Self::Queue => "the queue refused us or was not there at the start",
            Self::Version => "the run was begun by another version",
            Self::Damaged => "a committed file is damaged beyond repair",
            Self::LeftOut => {
                "complete, but every training dataset was rejected, or some were (--fail-on-rejected)"
            }
            Self::Deliveries => "workers died at one item again and again (--max-deliveries)",
            Self::Left => "the run was abandoned or pruned (worker abandon, worker prune)",
            Self::Preempted => "told to stop; the held item was released",
            Self::Violation => "two results of one item differ: the run is void",
            Self::Check => "the simulator's checks found the promise broken",
        }
    }

    /// The table shown under `--help` of every binary.
    pub fn table() -> String {
        let lines = Self::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Exit;

    #[test]
    fn exit_codes_are_distinct_and_all_listed() {
        let codes: BTreeSet<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes.len(), Exit::ALL.len());
        assert_eq!(Exit::table().lines().count(), Exit::ALL.len() + 1);
    }
}
