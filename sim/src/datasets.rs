//! The datasets of a run: found in a folder or generated, looked over, and copied to the volume. Which files are
//! datasets, and their order, the workload says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fixtures::{Config, Format};
use worker::contract::{Exit, TESTING, TRAINING};
use worker::failure::Failure;
use worker::order;
use worker::workload::Workload;

/// Training days that are generated where no data is given; a test day follows them.
const GENERATED_DAYS: u32 = 8;

/// Where a dataset's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Made(Vec<u8>),
}

/// The datasets of a run, by their path on the volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Datasets {
    origins: BTreeMap<String, Origin>,
    /// Paths on the volume, oldest first.
    pub paths: Vec<String>,
    /// The date that the report shows: the last training day.
    pub created: String,
    /// Files of the folder that are no datasets, by name.
    pub skipped: Vec<String>,
}

/// A dataset that cannot be taken.
fn unreadable(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Input, format!("read dataset {}", path.display()), why)
}

impl Datasets {
    /// Eight generated days and the day after them as the test: the same bytes on every machine.
    ///
    /// # Errors
    /// Where the generator refuses its own default.
    pub fn generated(workload: &dyn Workload) -> Result<Self, Failure> {
        let config = Config { days: GENERATED_DAYS + 1, ..Config::default() };
        let days = fixtures::generate(&config).map_err(Failure::when(Exit::Input, "generate datasets"))?;
        let mut datasets = Self::default();
        for day in &days {
            let folder = if day.number < GENERATED_DAYS { TRAINING } else { TESTING };
            let path = format!("{folder}/{}", day.file_name(Format::Parquet));
            datasets.origins.insert(path, Origin::Made(fixtures::write_parquet(day)));
        }
        Ok(datasets.in_order(workload))
    }

    /// The datasets in a folder. Those to test with are given, else they have `test` in their names.
    ///
    /// # Errors
    /// Where the folder cannot be read, or holds nothing to train on.
    pub fn find(folder: &Path, tests: &[PathBuf], workload: &dyn Workload) -> Result<Self, Failure> {
        let mut datasets = Self::default();
        let shown = folder.display();
        let failed = |error: std::io::Error| {
            let failure = Failure::new(Exit::Input, format!("read --datasets {shown}"), error);
            failure.hint("name a folder of datasets, a file each")
        };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(unreadable(&path, "its name is no UTF-8"));
            };
            if !path.is_file() || !workload.is_dataset(name) {
                datasets.skipped.push(name.to_owned());
            } else if !tests.iter().any(|test| same_file(test, &path)) {
                let is_test = tests.is_empty() && name.to_lowercase().contains("test");
                datasets.add(if is_test { TESTING } else { TRAINING }, name.to_owned(), path)?;
            }
        }
        for test in tests {
            let name = test.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| unreadable(test, "it names no file"))?;
            datasets.add(TESTING, name.to_owned(), test.clone())?;
        }
        datasets.skipped.sort_unstable();
        if datasets.count(TRAINING) == 0 {
            let failure =
                Failure::new(Exit::NoDatasets, format!("find datasets in {shown}"), "there are none");
            return Err(
                failure.hint(format!("--datasets takes a folder of {}", workload.datasets_in_words()))
            );
        }
        Ok(datasets.in_order(workload))
    }

    /// Datasets that lie on a volume already.
    #[must_use]
    pub fn staged(volume: &Path, paths: &[String], workload: &dyn Workload) -> Self {
        let origins = paths.iter().map(|path| (path.clone(), Origin::File(volume.join(path))));
        Self { origins: origins.collect(), ..Self::default() }.in_order(workload)
    }

    fn add(&mut self, folder: &str, name: String, from: PathBuf) -> Result<(), Failure> {
        fs::File::open(&from).map_err(|error| unreadable(&from, error))?;
        if !from.is_file() {
            return Err(unreadable(&from, "it is no file"));
        }
        let path = format!("{folder}/{name}");
        if self.origins.insert(path.clone(), Origin::File(from)).is_some() {
            return Err(Failure::new(Exit::Input, format!("use dataset {path}"), "it is given twice"));
        }
        Ok(())
    }

    fn in_order(mut self, workload: &dyn Workload) -> Self {
        self.paths = self.origins.keys().cloned().collect();
        order::oldest_first(&mut self.paths, |path| workload.period(path));
        let trained = self.paths.iter().filter(|path| path.starts_with(TRAINING));
        let last = trained.filter_map(|path| workload.period(path)).map(|(period, _)| period).max();
        self.created = format!("{} 00:00:00", last.as_deref().unwrap_or("1970-01-01"));
        self
    }

    /// Leaves out what is part of a run that is continued.
    #[must_use]
    pub fn without(mut self, held: &BTreeSet<&str>, workload: &dyn Workload) -> Self {
        self.origins.retain(|path, _| !held.contains(path.as_str()));
        self.in_order(workload)
    }

    fn count(&self, folder: &str) -> u32 {
        let inside = self.origins.keys().filter(|path| path.starts_with(folder));
        u32::try_from(inside.count()).unwrap_or(u32::MAX)
    }

    pub fn trainings(&self) -> u32 {
        self.count(TRAINING)
    }

    pub fn tests(&self) -> u32 {
        self.count(TESTING)
    }

    /// The bytes of a dataset, by its path on the volume.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn content(&self, path: &str) -> Result<Vec<u8>, Failure> {
        match self.origins.get(path) {
            Some(Origin::Made(bytes)) => Ok(bytes.clone()),
            Some(Origin::File(from)) => fs::read(from).map_err(|error| unreadable(from, error)),
            None => Err(Failure::of(Exit::Input, format!("there is no dataset {path}"))),
        }
    }

    /// Copies every dataset to a volume. One that lies there already stays.
    ///
    /// # Errors
    /// Where a file cannot be copied, or lies there with other content.
    pub fn stage(&self, volume: &Path) -> Result<(), Failure> {
        for path in &self.paths {
            let to = volume.join(path);
            let bytes = self.content(path)?;
            match fs::read(&to) {
                Ok(found) if found == bytes => continue,
                Ok(_) => {
                    let why = "it has other content, from an earlier run";
                    let failure = Failure::new(Exit::Input, format!("write {}", to.display()), why);
                    return Err(failure.hint("give another --out"));
                }
                Err(_) => put(&to, &bytes)?,
            }
        }
        Ok(())
    }
}

/// Writes a file whole or not at all.
pub(crate) fn put(to: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let folder = to.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.persist(to).map_err(|error| error.error)
    };
    write().map(drop).map_err(Failure::when(Exit::Volume, format!("write {}", to.display())))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use worker::workload::registry;

    use super::*;

    fn find(folder: &Path, tests: &[PathBuf]) -> Result<Datasets, Failure> {
        let workload = registry::standard().make("fraud", &BTreeMap::new()).unwrap();
        Datasets::find(folder, tests, workload.as_ref())
    }

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    }

    #[test]
    fn the_test_day_is_known_by_its_name() {
        let names = ["2018-04-02.pkl", "2018-04-01.pkl", "test_dataset.pkl", "README.md", "._2018-04-01.pkl"];
        let folder = folder(&names);
        let found = find(folder.path(), &[]).unwrap();
        let paths = [
            "datasets/training/2018-04-01.pkl",
            "datasets/training/2018-04-02.pkl",
            "datasets/testing/test_dataset.pkl",
        ];
        assert_eq!(found.paths, paths);
        assert_eq!(found.skipped, ["._2018-04-01.pkl", "README.md"]);
        assert_eq!(found.created, "2018-04-02 00:00:00");
    }

    #[test]
    fn a_test_day_that_is_given_is_not_trained_on() {
        let folder = folder(&["2018-04-02.csv", "2018-04-01.csv"]);
        let found = find(folder.path(), &[folder.path().join("2018-04-02.csv")]).unwrap();
        assert_eq!(found.paths, ["datasets/training/2018-04-01.csv", "datasets/testing/2018-04-02.csv"]);
    }

    /// A program reads whatever there is.
    #[test]
    fn the_workload_says_what_is_a_dataset() {
        let params = [("train".to_owned(), r#"["true"]"#.to_owned())].into();
        let program = registry::standard().make("exec", &params).unwrap();
        let folder = folder(&["2018-04-02.txt", "2018-04-01.json", ".hidden"]);
        let found = Datasets::find(folder.path(), &[], program.as_ref()).unwrap();
        assert_eq!(found.paths, ["datasets/training/2018-04-01.json", "datasets/training/2018-04-02.txt"]);
        assert_eq!(found.skipped, [".hidden"]);
    }

    #[test]
    fn what_cannot_be_a_run_is_refused() {
        assert!(find(Path::new("/nowhere"), &[]).is_err());
        assert!(find(folder(&["a.txt", "test.csv"]).path(), &[]).is_err());
    }

    #[test]
    fn other_content_is_never_written_over() {
        let (data, out) = (folder(&["2018-04-01.csv"]), tempfile::tempdir().unwrap());
        let found = find(data.path(), &[]).unwrap();
        found.stage(out.path()).unwrap();
        found.stage(out.path()).unwrap();
        fs::write(data.path().join("2018-04-01.csv"), "other").unwrap();
        assert!(found.stage(out.path()).is_err());
        let kept = fs::read(out.path().join("datasets/training/2018-04-01.csv")).unwrap();
        assert_eq!(kept, b"2018-04-01.csv");
    }
}
