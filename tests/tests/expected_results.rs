//! What a run makes of the committed data sets is committed too (`fixtures/expected`, `[results.fraud]`):
//! the same bytes whatever the number of workers, the queue, and the CPU's instructions.
//!
//! Where results change on purpose, raise the workload's results version and copy the hashes that
//! the failure prints.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fixtures::{Format, expected, generate};
use tests::queue::server::Server;
use worker::contract::{TESTING, TRAINING};
use worker::hash::Hash;

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");

/// The data sets that are run, and how many of their last days are the test.
const SETS: [(&str, usize); 2] = [("sample", 1), ("small", 7)];

/// glibc without the instructions whose variants of `exp` and `log` differ in their last bits.
const PLAIN_CPU: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-FMA,-FMA4");

/// Writes a data set to a volume, with the list of its training days.
fn write_volume(name: &str, tests: usize, volume: &Path) {
    let days = generate(&expected().unwrap()[name].config).unwrap();
    let mut list = String::new();
    for (number, day) in days.iter().enumerate() {
        let is_test = number + tests >= days.len();
        let path = format!("{}/{}", if is_test { TESTING } else { TRAINING }, day.file_name(Format::Parquet));
        fs::create_dir_all(volume.join(&path).parent().unwrap()).unwrap();
        fs::write(volume.join(&path), Format::Parquet.write(day)).unwrap();
        list += &(path + "\n");
    }
    fs::write(volume.join("list.txt"), list).unwrap();
}

fn start(volume: &Path, queue: &str, env: Option<(&str, &str)>) -> Child {
    let mut command = Command::new(SIM);
    command.args(["worker", "run", "--run", "expected", "--created", "2018-07-01", "--list", "list.txt"]);
    command.arg("--volume").arg(volume).args(["--queue", queue]);
    command.envs(env).env_remove("RUST_LOG").stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Hashes of what a run leaves in `output/`.
fn results(
    set: (&str, usize),
    queue: &str,
    workers: usize,
    env: Option<(&str, &str)>,
) -> BTreeMap<String, Hash> {
    let folder = tempfile::tempdir().unwrap();
    write_volume(set.0, set.1, folder.path());
    let started: Vec<Child> = (0..workers).map(|_| start(folder.path(), queue, env)).collect();
    for worker in started {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let files = fs::read_dir(folder.path().join("output")).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), Hash::of(&fs::read(file.path()).unwrap())))
        .map(|(name, hash)| (format!("output/{name}"), hash))
        .collect()
}

#[track_caller]
fn check(queue: &str, workers: usize, env: Option<(&str, &str)>) {
    for set in SETS {
        let found = results(set, queue, workers, env);
        let expected = expected().unwrap()[set.0].results.get("fraud").cloned().unwrap_or_default();
        let text: Vec<String> = found.iter().map(|(path, hash)| format!("\"{path}\" = \"{hash}\"")).collect();
        assert!(found == expected, "{}, {workers} workers, {queue}: it is\n{}", set.0, text.join("\n"));
    }
}

#[test]
fn one_worker() {
    check("sqlite", 1, None);
}

#[test]
fn two_and_eight_workers() {
    check("sqlite", 2, None);
    check("sqlite", 8, None);
}

#[test]
fn any_number_of_workers_through_redis() {
    let Some(server) = Server::shared() else { return };
    for workers in [1, 2, 8] {
        check(&server.fresh_database(), workers, None);
    }
}

#[test]
fn a_cpu_without_fma_and_avx2() {
    check("sqlite", 1, Some(PLAIN_CPU));
}
