//! What a run consists of: immutable chapters of datasets, ended by a seal.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor, value};
use serde::{Deserialize, Serialize};

use crate::contract::{self, RunPaths};
use crate::hash::Hash;
use crate::path::{name_of, stem_of};
use crate::record::{Outcome, Record};

/// What a dataset is used for. Every role's rows are history for the datasets after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Learned from.
    Train,
    /// Features only.
    History,
    /// Tested on.
    Test,
}

impl Role {
    /// By the folder that the dataset lies in.
    pub fn of(path: &str) -> Self {
        let inside = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        if inside(contract::TESTING) {
            Self::Test
        } else if inside(contract::HISTORY) {
            Self::History
        } else {
            Self::Train
        }
    }
}

/// A dataset as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Place in the run's order; chapters number on.
    pub index: u32,
    /// Normalised, relative to the volume.
    pub path: String,
    /// What it is used for, by the folder that it lies in.
    pub role: Role,
    /// Its size.
    pub bytes: u64,
    /// Hashes of its blocks of [`crate::contract::BLOCK_BYTES`], the last one shorter.
    pub blocks: Vec<Hash>,
}

impl Dataset {
    /// Hash of the whole content, by way of its blocks.
    pub fn hash(&self) -> Hash {
        Hash::of_fields(self.blocks.iter().map(|block| &block.0[..]))
    }

    /// Its file's name without folders and ending.
    pub fn stem(&self) -> &str {
        stem_of(&self.path)
    }
}

/// What, beside the ordered datasets, decides a run's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The workload's name.
    pub workload: String,
    /// The version of its results.
    pub results_version: u32,
    /// Parameters and seeds.
    pub params: BTreeMap<String, String>,
}

impl Spec {
    /// A hash over all of it.
    pub fn hash(&self) -> Hash {
        let version = self.results_version.to_le_bytes();
        let params = self.params.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        Hash::of_fields([self.workload.as_bytes(), &version].into_iter().chain(params))
    }
}

/// A pushed path that did not become part of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// As it was pushed.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A dataset of an earlier run that this run continues, with where its commits are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// The run that did its stages.
    pub run: String,
    /// Its index there.
    pub at: u32,
    /// As this run numbers it.
    pub dataset: Dataset,
}

/// What is committed at `manifest/<n>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "page", rename_all = "lowercase", try_from = "Fields")]
pub enum Page {
    /// Chapter 0.
    First {
        /// What to do.
        spec: Spec,
        /// The date that the report shows.
        created: String,
        /// Born sealed: no chapter follows.
        last: bool,
        /// What the run continues: training and history datasets of an earlier run, in their order. They come before
        /// the run's own and are not recomputed.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        inherited: Vec<Inherited>,
        /// The first datasets.
        datasets: Vec<Dataset>,
        /// Pushed paths that are no part of the run.
        refused: Vec<Refusal>,
    },
    /// What was pushed after the run began: datasets, and the paths that were refused.
    Chapter {
        /// They follow those of the pages before.
        datasets: Vec<Dataset>,
        /// Pushed paths that are no part of the run.
        refused: Vec<Refusal>,
    },
    /// Every item of this number of datasets is committed, and no pushed path is left to take in.
    Seal {
        /// How many all pages hold.
        datasets: u32,
    },
}

/// A page as it is read. From a tagged enum serde reads all of it into a map first, which takes three times as long.
#[derive(Deserialize)]
struct Fields {
    page: String,
    spec: Option<Spec>,
    created: Option<String>,
    last: Option<bool>,
    #[serde(default)]
    inherited: Vec<Inherited>,
    datasets: Datasets,
    refused: Option<Vec<Refusal>>,
}

/// A page's datasets, or how many a seal counts.
enum Datasets {
    Listed(Vec<Dataset>),
    Counted(u32),
}

impl<'de> Deserialize<'de> for Datasets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Datasets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("datasets, or how many there are")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Datasets, A::Error> {
                Vec::deserialize(value::SeqAccessDeserializer::new(list)).map(Datasets::Listed)
            }

            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Datasets, E> {
                u32::try_from(count).map(Datasets::Counted).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl TryFrom<Fields> for Page {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { page, spec, created, last, inherited, datasets, refused } = fields;
        let refused = refused.ok_or("a page without what it refuses");
        match (page.as_str(), datasets) {
            ("first", Datasets::Listed(datasets)) => Ok(Self::First {
                spec: spec.ok_or("a first page without a spec")?,
                created: created.ok_or("a first page without a date")?,
                last: last.ok_or("a first page that does not say whether it is the last")?,
                inherited,
                datasets,
                refused: refused?,
            }),
            ("chapter", Datasets::Listed(datasets)) => Ok(Self::Chapter { datasets, refused: refused? }),
            ("seal", Datasets::Counted(datasets)) => Ok(Self::Seal { datasets }),
            _ => Err("a page of no kind that is known"),
        }
    }
}

/// Why a page does not continue a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PageError {
    #[error("it is no page of a manifest: {0}")]
    Unreadable(String),
    #[error("chapter 0 must come first, and once")]
    First,
    #[error("it follows the end of the run")]
    AfterEnd,
    #[error("dataset {path} has index {found}, {expected} was next")]
    Index { path: String, found: u32, expected: u32 },
    #[error("it seals {found} datasets, the chapters hold {expected}")]
    Seal { found: u32, expected: u32 },
}

impl Page {
    /// The content of the page's record.
    pub fn encode(&self) -> Vec<u8> {
        // A page holds strings, numbers and lists only: writing it as JSON cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The page that a record holds.
    ///
    /// # Errors
    /// Where it holds none.
    pub fn of(record: &Record) -> Result<Self, PageError> {
        match &record.outcome {
            Outcome::Part(content) => Self::decode(content),
            Outcome::Rejected(_) => Err(PageError::Unreadable("it is a rejection".to_owned())),
        }
    }

    /// # Errors
    /// Where the bytes are no page.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        serde_json::from_slice(bytes).map_err(|error| PageError::Unreadable(error.to_string()))
    }
}

/// The chapters read so far, as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What to do.
    pub spec: Spec,
    /// The date that the report shows.
    pub created: String,
    /// Every dataset, inherited ones first.
    pub datasets: Vec<Dataset>,
    /// Pushed paths that are no part of the run, each once.
    pub refused: Vec<Refusal>,
    /// Nothing can be added any more.
    pub sealed: bool,
    /// The number that the next page would have.
    pub next_page: u32,
    /// Rolling hash over the datasets, one a dataset.
    lineage: Vec<Hash>,
    by_path: BTreeMap<String, u32>,
    tests: Vec<u32>,
    /// The runs whose commits the first datasets' are, and the indices there.
    inherited: Vec<(String, u32)>,
}

impl Manifest {
    /// # Errors
    /// Where the page is not a first one.
    pub fn begin(page: Page) -> Result<Self, PageError> {
        let Page::First { spec, created, last, inherited, datasets, refused } = page else {
            return Err(PageError::First);
        };
        let mut manifest = Self {
            spec,
            created,
            datasets: Vec::new(),
            refused,
            sealed: false,
            next_page: 1,
            lineage: Vec::new(),
            by_path: BTreeMap::new(),
            tests: Vec::new(),
            inherited: inherited.iter().map(|one| (one.run.clone(), one.at)).collect(),
        };
        manifest.extend(inherited.into_iter().map(|one| one.dataset).collect())?;
        manifest.extend(datasets)?;
        manifest.sealed = last;
        Ok(manifest)
    }

    /// Takes in the page after those read so far.
    ///
    /// # Errors
    /// Where the page cannot follow.
    pub fn turn(&mut self, page: Page) -> Result<(), PageError> {
        if self.sealed {
            return Err(PageError::AfterEnd);
        }
        match page {
            Page::First { .. } => return Err(PageError::First),
            Page::Chapter { datasets, refused } => {
                self.extend(datasets)?;
                self.refused.extend(refused);
            }
            Page::Seal { datasets } if datasets == self.len() => self.sealed = true,
            Page::Seal { datasets } => {
                return Err(PageError::Seal { found: datasets, expected: self.len() });
            }
        }
        self.next_page += 1;
        Ok(())
    }

    fn extend(&mut self, datasets: Vec<Dataset>) -> Result<(), PageError> {
        for dataset in datasets {
            let expected = self.len();
            if dataset.index != expected {
                return Err(PageError::Index { path: dataset.path, found: dataset.index, expected });
            }
            let before = self.lineage.last().copied().unwrap_or_default();
            let role = dataset.role as u8;
            let hash = dataset.hash();
            self.lineage.push(Hash::of_fields([&before.0[..], dataset.path.as_bytes(), &[role], &hash.0]));
            self.by_path.insert(dataset.path.clone(), expected);
            if dataset.role == Role::Test {
                self.tests.push(expected);
            }
            self.datasets.push(dataset);
        }
        Ok(())
    }

    /// How many datasets there are.
    pub fn len(&self) -> u32 {
        // Indices are u32 and checked to be consecutive, so the count fits.
        u32::try_from(self.datasets.len()).unwrap_or(u32::MAX)
    }

    /// The first dataset that is the run's own, and not inherited.
    pub fn own_from(&self) -> u32 {
        u32::try_from(self.inherited.len()).unwrap_or(u32::MAX)
    }

    /// The run's own datasets.
    pub fn own(&self) -> &[Dataset] {
        &self.datasets[self.inherited.len()..]
    }

    /// The last of them that is trained on.
    pub fn last_own(&self) -> Option<u32> {
        self.own().iter().rev().find(|dataset| dataset.role == Role::Train).map(|dataset| dataset.index)
    }

    /// The run whose commits a dataset's are, where it is inherited, and its index there.
    pub fn home(&self, index: u32) -> Option<(&str, u32)> {
        self.inherited.get(index as usize).map(|(run, at)| (run.as_str(), *at))
    }

    /// The runs whose commits this one goes on from, the latest first.
    pub fn continued(&self) -> Vec<&str> {
        let mut runs: Vec<&str> = Vec::new();
        for (run, _) in self.inherited.iter().rev() {
            if !runs.contains(&run.as_str()) {
                runs.push(run);
            }
        }
        runs
    }

    /// Where a stage of a dataset is committed; `folder` is the stage's.
    pub fn commit_path(&self, paths: &RunPaths, folder: &str, index: u32) -> String {
        match self.home(index) {
            Some((run, at)) => RunPaths::new(run).commit(folder, at),
            None => paths.commit(folder, index),
        }
    }

    /// What a run that continues this one, named `run`, inherits.
    pub fn to_inherit(&self, run: &str) -> Vec<Inherited> {
        let kept = self.datasets.iter().filter(|dataset| dataset.role != Role::Test);
        let inherit = |(dataset, index): (&Dataset, u32)| {
            let (run, at) = self.home(dataset.index).unwrap_or((run, dataset.index));
            Inherited { run: run.to_owned(), at, dataset: Dataset { index, ..dataset.clone() } }
        };
        kept.zip(0..).map(inherit).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.datasets.is_empty()
    }

    /// The dataset of an index below [`Manifest::len`].
    pub fn dataset(&self, index: u32) -> &Dataset {
        &self.datasets[index as usize]
    }

    /// The dataset of a path.
    pub fn by_path(&self, path: &str) -> Option<&Dataset> {
        self.by_path.get(path).map(|index| self.dataset(*index))
    }

    /// Rolling hash over the datasets up to and with `index`: what models carry.
    pub fn lineage(&self, index: u32) -> Hash {
        self.lineage[index as usize]
    }

    /// Rolling hash over all the datasets.
    pub fn last_lineage(&self) -> Hash {
        self.lineage.last().copied().unwrap_or_default()
    }

    /// The training dataset before `index`, if any: the one whose checkpoint `fold` starts from.
    pub fn train_before(&self, index: u32) -> Option<u32> {
        self.datasets[..index as usize].iter().rev().find(|d| d.role == Role::Train).map(|d| d.index)
    }

    /// Indices of the test datasets.
    pub fn tests(&self) -> &[u32] {
        &self.tests
    }
}

/// A path as the manifest holds it: relative, with `/`, without `.`, empty components, and blanks or line endings
/// around it (a list that was written on Windows ends each line with a CR).
///
/// # Errors
/// Where the path leaves the volume, or names none of its files.
pub fn normalise(path: &str) -> Result<String, String> {
    let path = path.trim();
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("it leaves the volume".to_owned()),
            part if part.chars().any(char::is_control) => {
                return Err("it holds control characters".to_owned());
            }
            part => parts.push(part),
        }
    }
    if path.starts_with('/') {
        return Err("it is not relative to the volume".to_owned());
    }
    let path = parts.join("/");
    if path.is_empty() {
        return Err("it names no file".to_owned());
    }
    if path.trim() != path {
        return Err("it begins or ends with a blank".to_owned());
    }
    Ok(path)
}

/// Why a hidden file is no dataset.
pub const HIDDEN: &str = "its name is that of a hidden file or of an editor's copy";

/// Whether a name is that of a file which programs hide or leave behind: `.x.swp`, `._x`, `x~`.
pub fn is_hidden(path: &str) -> bool {
    let name = name_of(path);
    name.starts_with('.') || name.ends_with('~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_normalised_or_refused() {
        assert_eq!(normalise("datasets//training/./a.pkl"), Ok("datasets/training/a.pkl".to_owned()));
        assert_eq!(normalise(" datasets/a.pkl\r\n"), Ok("datasets/a.pkl".to_owned()));
        for bad in ["", "/", "/etc/passwd", "../a", "a/../../b", ".", "a\nb", "./ a", "x/.. /", " \r"] {
            assert!(normalise(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn hidden_files_are_known_by_their_names() {
        assert!(["a/.x.swp", "._x", "b/x.csv~"].into_iter().all(is_hidden));
        assert!(!["a/x.csv", ".a/x.csv", "a~/x"].into_iter().any(is_hidden));
    }

    fn dataset(index: u32, path: String) -> Dataset {
        Dataset { index, role: Role::of(&path), path, bytes: 1, blocks: vec![Hash::of(&index.to_le_bytes())] }
    }

    fn spec() -> Spec {
        Spec { workload: "toy".to_owned(), results_version: 1, params: BTreeMap::new() }
    }

    proptest! {
        /// The lineage depends on the datasets in their order and not on where chapters end.
        #[test]
        fn lineage_ignores_chapters(count in 1..20u32, cuts in prop::collection::vec(0..20u32, 0..4)) {
            let all: Vec<Dataset> = (0..count).map(|i| dataset(i, format!("datasets/training/{i}"))).collect();
            let (created, refused) = (String::new(), Vec::new());
            let first = |datasets| Page::First { spec: spec(), created: created.clone(), last: false, inherited: Vec::new(), datasets, refused: refused.clone() };
            let whole = Manifest::begin(first(all.clone())).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| (cut % count) as usize).collect();
            cuts.extend([0, all.len()]);
            cuts.sort_unstable();
            let mut chaptered = Manifest::begin(first(Vec::new())).unwrap();
            for pair in cuts.windows(2) {
                chaptered.turn(Page::Chapter { datasets: all[pair[0]..pair[1]].to_vec(), refused: Vec::new() }).unwrap();
            }
            prop_assert_eq!(whole.lineage(count - 1), chaptered.lineage(count - 1));
            chaptered.turn(Page::Seal { datasets: count }).unwrap();
            prop_assert_eq!(chaptered.turn(Page::Chapter { datasets: vec![], refused: vec![] }), Err(PageError::AfterEnd));
        }

        #[test]
        fn arbitrary_bytes_are_no_page_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Page::decode(&bytes).is_err());
        }
    }
}
