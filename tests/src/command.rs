//! Programs as a person runs them: what they print, their exit codes, and data to run them on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixtures::{Config, Format};

/// Datasets of the committed sample, but for the last day, which is the test.
const TRAINING_DAYS: u32 = 4;

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUST_LOG").env_remove("REDISCLI_AUTH").env("NO_COLOR", "1");
    command.output().unwrap_or_else(|error| panic!("start {program}: {error}"))
}

/// Exit code and output, as snapshots show them.
pub fn transcript(output: &Output) -> String {
    let code = output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("exit code: {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

/// What differs from run to run in what a person is shown, and what snapshots have in its place.
pub const FILTERS: [(&str, &str); 5] = [
    (r"sim-under-test", "sim"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "SESSION"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"-[0-9a-f]{32}", "-NONCE"),
];

/// A text without the name of a folder.
pub fn without(folder: &Path, text: &str) -> String {
    let canonical = folder.canonicalize().expect("the folder is there");
    [canonical.as_path(), folder].iter().fold(text.to_owned(), |text, folder| {
        text.replace(folder.to_str().expect("a name in UTF-8"), "FOLDER")
    })
}

/// Files under `folder` by their path in it.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder that can be read") {
            let path = entry.expect("an entry that can be read").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).expect("a path in the folder").to_owned();
                    found.insert(name, std::fs::read(&path).expect("a file that can be read"));
                }
            }
        }
    }
    found
}

/// Writes the committed sample's days, four to train on and one to test with, each under the name
/// that `path` gives it.
pub fn write_sample(path: impl Fn(&str, bool) -> PathBuf) {
    for day in fixtures::generate(&Config::sample()).expect("the sample's configuration is good") {
        let to = path(&day.file_name(Format::Parquet), day.number >= TRAINING_DAYS);
        let folder = to.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder).expect("a new folder");
        std::fs::write(to, Format::Parquet.write(&day)).expect("a new file");
    }
}

/// A volume as the tutorial lays it out.
pub fn write_volume(volume: &Path) {
    write_sample(|name, is_test| {
        let folder = if is_test { worker::contract::TESTING } else { worker::contract::TRAINING };
        volume.join(folder).join(name)
    });
}

/// A folder of days as a person keeps them, the test day known by its name.
pub fn write_days(folder: &Path) {
    write_sample(|name, is_test| folder.join(if is_test { format!("test-{name}") } else { name.to_owned() }));
}
