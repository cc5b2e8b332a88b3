//! What README and docs/ say: their commands run, their links lead somewhere, and the tests and mutants that they name
//! exist.
//!
//! A fenced block marked `sh` runs here: all blocks of a page, in order, in one new folder that shows the repository's
//! sample data and examples. A block marked `bash` needs a cluster, an account or a server, and only shows what to type.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::command::transcript;
use tests::server;
use worker::mutant::MUTANTS;

/// The programs that documents call, each by its name there.
const PROGRAMS: [(&str, &str); 3] = [
    ("sim", env!("CARGO_BIN_EXE_sim-under-test")),
    ("worker", env!("CARGO_BIN_EXE_worker-under-test")),
    ("cloud", env!("CARGO_BIN_EXE_cloud-under-test")),
];

/// What documents read of a checkout.
const SHOWN: [&str; 2] = ["fixtures", "examples"];

/// Stands for cargo: the programs are built already, so that `run` runs one and `install` has nothing to do.
const CARGO: &str = r#"#!/bin/sh
case "$1 $2 $3" in
  "run --release -p") program=$4; shift 5; exec "$program" "$@" ;;
  "install --path "*) test -d "$ROOT/$3/src" ;;
  "build --release -p") test -d "$ROOT/$4/src" ;;
  *) echo "no stand-in for: cargo $*" >&2; exit 1 ;;
esac
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The pages that people read, by their path in the repository; the notes keep the words of their time.
fn pages() -> Vec<(String, String)> {
    let root = root();
    let below = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".md"));
        names.map(|name| Path::new(folder).join(name).to_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let paths = below("").into_iter().chain(below("docs"));
    paths.map(|path| (path.clone(), fs::read_to_string(root.join(path)).unwrap())).collect()
}

/// The content of a page's fenced blocks of a language, one after the other.
fn blocks(page: &str, language: &str) -> String {
    let mut fence = None;
    let mut taken = String::new();
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(opened), None) => fence = Some(opened == language),
            (Some(_), Some(_)) => fence = None,
            (None, Some(true)) => {
                taken.push_str(line);
                taken.push('\n');
            }
            (None, _) => {}
        }
    }
    taken
}

/// A page without its fenced blocks.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in page.lines() {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if !fenced && !is_fence {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// Whether this machine has a program; said aloud where it has not.
fn has(program: &str) -> bool {
    let found = server::has(program);
    if !found {
        let _ = writeln!(std::io::stderr(), "SKIPPED, the page's commands need {program}");
    }
    found
}

#[test]
fn the_commands_of_every_page_work_in_order() {
    for (path, page) in pages() {
        let script = blocks(&page, "sh");
        if script.is_empty() || script.contains("python3") && !has("python3") {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("programs");
        let checkout = folder.path().join("checkout");
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir_all(&checkout).unwrap();
        for (name, program) in PROGRAMS {
            symlink(program, programs.join(name)).unwrap();
        }
        fs::write(programs.join("cargo"), CARGO).unwrap();
        fs::set_permissions(programs.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in SHOWN {
            symlink(root().join(name), checkout.join(name)).unwrap();
        }
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", &script]).current_dir(&checkout).env("ROOT", root());
        command.env_remove("RUST_LOG").env_remove("REDISCLI_AUTH");
        command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{path}: its commands fail:\n{script}\n{}", transcript(&output));
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>()
        .replace(' ', "-")
}

fn has_anchor(page: &str, wanted: &str) -> bool {
    let headings = prose(page);
    headings
        .lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

/// The targets of a page's links and pictures that are no addresses.
fn links(page: &str) -> Vec<String> {
    let text = prose(page);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    for (path, page) in pages() {
        for link in links(&page) {
            let (file, wanted) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => root.join(&path),
                file => root.join(&path).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{path}: {link} is not there");
            if !wanted.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                assert!(has_anchor(&text, wanted), "{path}: {link} has no such heading");
            }
        }
    }
}

#[test]
fn the_readme_is_short_and_ci_runs_its_first_command() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(page.lines().count() <= 120, "the README has {} lines", page.lines().count());
    let commands = blocks(&page, "sh");
    let first = commands.lines().next().unwrap();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.lines().any(|line| line == first), ".ci/run does not run `{first}`");
}

/// Each row of a table of promises names its tests as `file.rs: name` and its mutants in the last cell.
#[test]
fn the_tests_and_mutants_that_guarantees_names_exist() {
    let root = root();
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let (mut tests, mut mutants) = (0, BTreeSet::new());
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains(".rs")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        for test in quoted(cells[1]) {
            let (file, name) = test.split_once(": ").unwrap_or_else(|| panic!("`{test}` names no test"));
            let source = ["tests/tests", "worker/engine/src"]
                .iter()
                .find_map(|folder| fs::read_to_string(root.join(folder).join(file)).ok());
            let source = source.unwrap_or_else(|| panic!("{file} is not there"));
            let is_there = ["(", "<"].iter().any(|next| source.contains(&format!("fn {name}{next}")));
            assert!(is_there, "{file} has no test {name}");
            tests += 1;
        }
        mutants.extend(quoted(cells[2]));
    }
    assert!(tests >= 20, "the tables name {tests} tests");
    let known: BTreeSet<String> = MUTANTS.iter().map(|entry| entry.name.to_owned()).collect();
    let unknown: Vec<_> = mutants.difference(&known).collect();
    assert!(unknown.is_empty(), "no mutants: {unknown:?}");
    let missing: Vec<_> = known.difference(&mutants).collect();
    assert!(missing.is_empty(), "mutants that break no promise of the page: {missing:?}");
}

/// The names of all source files below the root, by `git`'s list of what is committed or about to be.
fn sources() -> Vec<String> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let listed = list.output().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A reader goes from a rule to its file by what ARCHITECTURE says.
#[test]
fn the_files_that_architecture_names_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources = sources();
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let named: BTreeSet<&str> = page
        .split(|c| !is_in_name(c))
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.ends_with(".rs") || word.ends_with(".lua"))
        .collect();
    assert!(named.len() > 80, "{named:?}");
    let is_there =
        |name: &str| sources.iter().any(|path| path == name || path.ends_with(&format!("/{name}")));
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "not there: {missing:?}");
    let rules = page.split("## Rules").nth(1).and_then(|rest| rest.split("### ").next()).unwrap();
    let begins =
        |line: &str| line.split_once(". **").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let count = rules.lines().filter(|line| begins(line)).count();
    let joined = rules.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(count, joined.matches("*In `").count(), "each rule names its files");
}

/// The sample of a plan is what `cloud plan` prints, as its own test holds it.
#[test]
fn the_sample_of_a_plan_is_what_is_printed() {
    let root = root();
    let name = "cloud_program__cli__plan_of_an_empty_project_reads_and_writes_nothing.snap";
    let held = fs::read_to_string(root.join("tests/tests/cloud_program/snapshots").join(name)).unwrap();
    let (_, printed) = held.split_once("--- stdout\n").unwrap();
    let (printed, _) = printed.split_once("--- stderr").unwrap();
    let page = fs::read_to_string(root.join("docs/gcp.md")).unwrap();
    assert!(page.contains(printed), "docs/gcp.md lacks this:\n{printed}");
}
