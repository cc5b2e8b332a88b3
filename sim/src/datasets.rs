//! The datasets of a run: found in a folder or generated, looked over, and copied to the volume.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fixtures::{Config, Format};
use worker::contract::{Exit, TESTING, TRAINING};
use worker::failure::Failure;
use worker::input::is_dataset;
use worker::manifest::is_hidden;
use worker::workload::days::{day_of, oldest_first};

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
    pub fn generated() -> Result<Self, Failure> {
        let config = Config { days: GENERATED_DAYS + 1, ..Config::default() };
        let days = fixtures::generate(&config).map_err(Failure::when(Exit::Input, "generate datasets"))?;
        let mut datasets = Self::default();
        for day in &days {
            let folder = if day.number < GENERATED_DAYS { TRAINING } else { TESTING };
            let path = format!("{folder}/{}", day.file_name(Format::Parquet));
            datasets.origins.insert(path, Origin::Made(fixtures::write_parquet(day)));
        }
        Ok(datasets)
    }

    /// The datasets in a folder. Test days are those given, else those with `test` in their name.
    ///
    /// # Errors
    /// Where the folder cannot be read, or holds no training dataset.
    pub fn find(folder: &Path, tests: &[PathBuf]) -> Result<Self, Failure> {
        Self::find_where(folder, tests, &is_dataset)
    }

    /// The same where a program reads them: whatever their endings. Hidden files are none.
    ///
    /// # Errors
    /// Where the folder cannot be read, or holds nothing to train on.
    pub fn find_any(folder: &Path, tests: &[PathBuf]) -> Result<Self, Failure> {
        Self::find_where(folder, tests, &|_| true)
    }

    fn find_where(
        folder: &Path,
        tests: &[PathBuf],
        is_dataset: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Failure> {
        let mut datasets = Self::default();
        let shown = folder.display();
        let failed =
            |error: std::io::Error| Failure::new(Exit::Input, format!("read --datasets {shown}"), error);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(unreadable(&path, "its name is no UTF-8"));
            };
            if !path.is_file() || is_hidden(name) || !is_dataset(name) {
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
            return Err(failure.hint(
                "--datasets takes a folder of .parquet, .csv or .pkl files, with days in their names",
            ));
        }
        Ok(datasets)
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

    /// Paths on the volume, oldest first.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.origins.keys().cloned().collect();
        oldest_first(&mut paths);
        paths
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

    /// The date that the report shows: the last training day.
    pub fn created(&self) -> String {
        let days = self.origins.keys().filter(|path| path.starts_with(TRAINING));
        let last = days.filter_map(|path| day_of(path)).max();
        last.map_or_else(|| "1970-01-01 00:00:00".to_owned(), |day| format!("{day} 00:00:00"))
    }

    /// Copies every dataset to a volume. One that lies there already stays.
    ///
    /// # Errors
    /// Where a file cannot be copied, or lies there with other content.
    pub fn stage(&self, volume: &Path) -> Result<(), Failure> {
        for path in self.origins.keys() {
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
    use super::*;

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
        let found = Datasets::find(folder.path(), &[]).unwrap();
        let paths = [
            "datasets/training/2018-04-01.pkl",
            "datasets/training/2018-04-02.pkl",
            "datasets/testing/test_dataset.pkl",
        ];
        assert_eq!(found.paths(), paths);
        assert_eq!(found.skipped, ["._2018-04-01.pkl", "README.md"]);
        assert_eq!(found.created(), "2018-04-02 00:00:00");
    }

    #[test]
    fn a_test_day_that_is_given_is_not_trained_on() {
        let folder = folder(&["2018-04-02.csv", "2018-04-01.csv"]);
        let found = Datasets::find(folder.path(), &[folder.path().join("2018-04-02.csv")]).unwrap();
        assert_eq!(found.paths(), ["datasets/training/2018-04-01.csv", "datasets/testing/2018-04-02.csv"]);
    }

    #[test]
    fn what_cannot_be_a_run_is_refused() {
        assert!(Datasets::find(Path::new("/nowhere"), &[]).is_err());
        assert!(Datasets::find(folder(&["a.txt", "test.csv"]).path(), &[]).is_err());
    }

    #[test]
    fn other_content_is_never_written_over() {
        let (data, out) = (folder(&["2018-04-01.csv"]), tempfile::tempdir().unwrap());
        let found = Datasets::find(data.path(), &[]).unwrap();
        found.stage(out.path()).unwrap();
        found.stage(out.path()).unwrap();
        fs::write(data.path().join("2018-04-01.csv"), "other").unwrap();
        assert!(found.stage(out.path()).is_err());
        let kept = fs::read(out.path().join("datasets/training/2018-04-01.csv")).unwrap();
        assert_eq!(kept, b"2018-04-01.csv");
    }
}
