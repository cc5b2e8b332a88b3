//! A scenario file, `batch.toml`: what a command line says, in a file. It becomes options that stand before those of the
//! command line, so that these win.

use std::ffi::OsString;
use std::path::Path;

use toml::{Table, Value};

use super::cli::words;

/// The option that names the file.
pub const OPTION: &str = "--scenario";

/// How a value becomes an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text or a number.
    One,
    /// One or a list: the option is repeated.
    Many,
    /// `true` gives the option.
    Flag,
    /// A command as text or as a list of words.
    Command,
    /// The command after `--`.
    Last,
}

/// Which programs take a key: the simulator's `run` and `check`, the worker's `run`, and the deployer's commands, of which
/// `render` and `plan` take less.
const RUN: u8 = 1;
const CHECK: u8 = 2;
const WORKER: u8 = 4;
const CLOUD: u8 = 8;
const PLAN: u8 = 16;
const RENDER: u8 = 32;
const CLOUDS: u8 = CLOUD | PLAN | RENDER;
const ALL: u8 = RUN | CHECK | WORKER | CLOUDS;

/// The commands that take a scenario, by program and name.
const COMMANDS: [(&str, &str, u8); 7] = [
    ("sim", "run", RUN),
    ("sim", "check", CHECK),
    ("worker", "run", WORKER),
    ("cloud", "run", CLOUD),
    ("cloud", "deploy", CLOUD),
    ("cloud", "plan", PLAN),
    ("cloud", "render", RENDER),
];

/// Section, key, option, kind, and who takes it: others pass over it.
const KEYS: [(&str, &str, &str, Kind, u8); 34] = [
    ("", "datasets", "--datasets", Kind::One, RUN | CHECK | CLOUD | PLAN),
    ("", "tests", "--test", Kind::Many, RUN | CHECK),
    ("commands", "prepare", "--prepare", Kind::Command, ALL),
    ("commands", "train", "--", Kind::Last, ALL),
    ("commands", "evaluate", "--evaluate", Kind::Command, ALL),
    ("commands", "report", "--report", Kind::Command, ALL),
    ("program", "deterministic", "--deterministic", Kind::Flag, ALL),
    ("program", "aliases", "--aliases", Kind::Flag, ALL),
    ("program", "scratch", "--scratch", Kind::One, RUN | CHECK | WORKER),
    ("program", "digest", "--digest", Kind::Command, ALL),
    ("program", "audit", "--audit", Kind::One, RUN | WORKER | CLOUDS),
    ("limits", "item_timeout", "--item-timeout", Kind::One, ALL),
    ("limits", "retries", "--retries", Kind::One, WORKER | CLOUDS),
    ("limits", "max_deliveries", "--max-deliveries", Kind::One, WORKER | CLOUDS),
    ("run", "workers", "--workers", Kind::One, RUN | CLOUDS),
    ("run", "queue", "--queue", Kind::One, RUN | WORKER),
    ("run", "lease", "--lease", Kind::One, RUN | WORKER),
    ("run", "out", "--out", Kind::One, RUN | CLOUD),
    ("run", "volume", "--volume", Kind::One, WORKER),
    ("run", "list", "--list", Kind::One, WORKER),
    ("containers", "image", "--image", Kind::One, CLOUDS),
    ("containers", "worker_image", "--worker-image", Kind::One, CLOUDS),
    ("containers", "pull_secret", "--pull-secret", Kind::One, CLOUDS),
    ("containers", "kueue_queue", "--kueue-queue", Kind::One, CLOUDS),
    ("resources", "cpu", "--cpu", Kind::One, CLOUDS),
    ("resources", "memory", "--memory", Kind::One, CLOUDS),
    ("resources", "gpu", "--gpu", Kind::One, CLOUDS),
    ("resources", "gpu_type", "--gpu-type", Kind::One, CLOUDS),
    ("resources", "scratch", "--scratch-size", Kind::One, CLOUDS),
    ("preemption", "rule", "--preempt", Kind::One, RUN),
    ("preemption", "seed", "--seed", Kind::One, RUN),
    ("preemption", "grace", "--grace", Kind::One, RUN | WORKER),
    ("preemption", "silent", "--silent", Kind::One, RUN),
    ("preemption", "pause", "--pause", Kind::One, RUN),
];

/// Sections whose keys are names of the user's: of variables, of variables with values in Secrets, of labels.
const SECTIONS: [(&str, &str, u8); 3] = [
    ("env", "--env", ALL),
    ("secrets", "--secret-env", CLOUDS),
    ("node_selector", "--node-selector", CLOUDS),
];

/// Puts what a scenario file says in place of `--scenario FILE`, right behind the command that takes it. Other command
/// lines pass as they are.
///
/// # Errors
/// Where the file cannot be read, or says what no option does.
pub fn expand(program: &str, arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    // Options that all commands take may stand before the command.
    let command = arguments[..end].iter().enumerate().skip(1).find_map(|(at, word)| {
        let (.., takes) = COMMANDS.iter().find(|(of, name, _)| *of == program && word == name)?;
        Some((at, *takes))
    });
    let (Some((command, takes)), Some(at)) = (command, arguments[..end].iter().position(is_option)) else {
        return Ok(arguments);
    };
    let (path, used) = match arguments[at].to_str().and_then(|word| word.split_once('=')) {
        Some((_, path)) => (OsString::from(path), 1),
        None if at + 1 < end => (arguments[at + 1].clone(), 2),
        None => return Err(format!("{OPTION} names no file\nhint: {OPTION} batch.toml")),
    };
    let has_command = end < arguments.len();
    let shown = Path::new(&path).display();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("failed to read {OPTION} {shown}: {error}\nhint: `sim init` writes one"))?;
    let (options, last) = options(&text, takes).map_err(|why| {
        let hint = if why.contains("\nhint: ") { "" } else { "\nhint: `sim init` writes one" };
        format!("failed to read {OPTION} {shown}: {}{hint}", why.trim_end())
    })?;
    let mut given = arguments;
    given.drain(at..at + used);
    let command = if at < command { command - used } else { command };
    let behind = given.split_off(command + 1);
    let mut expanded = given;
    expanded.extend(options);
    expanded.extend(behind);
    // A command on the command line stands for the file's.
    if !has_command && !last.is_empty() {
        expanded.push("--".into());
        expanded.extend(last);
    }
    Ok(expanded)
}

fn is_option(word: &OsString) -> bool {
    word.to_str().is_some_and(|word| {
        word == OPTION || word.strip_prefix(OPTION).is_some_and(|rest| rest.starts_with('='))
    })
}

/// The options of a file, and its command after `--`.
fn options(text: &str, takes: u8) -> Result<(Vec<OsString>, Vec<OsString>), String> {
    let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let (mut options, mut last) = (Vec::new(), Vec::new());
    for (name, value) in &table {
        match value {
            Value::Table(section) => {
                for (key, value) in section {
                    add(name, key, value, takes, &mut options, &mut last)?;
                }
            }
            value => add("", name, value, takes, &mut options, &mut last)?,
        }
    }
    Ok((options, last))
}

fn add(
    section: &str,
    key: &str,
    value: &Value,
    takes: u8,
    options: &mut Vec<OsString>,
    last: &mut Vec<OsString>,
) -> Result<(), String> {
    if let Some((_, option, who)) = SECTIONS.iter().find(|(of, ..)| *of == section) {
        let text = format!("{key}={}", text_of(section, key, value)?);
        if who & takes != 0 {
            options.extend([option.into(), text.into()]);
        }
        return Ok(());
    }
    let known = KEYS.iter().find(|(of, name, ..)| (*of, *name) == (section, key));
    let Some((_, _, option, kind, who)) = known else { return Err(unknown(section, key)) };
    if who & takes == 0 {
        return Ok(());
    }
    match kind {
        Kind::One => options.extend([option.into(), text_of(section, key, value)?.into()]),
        Kind::Many => {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for value in &values {
                options.extend([option.into(), text_of(section, key, value)?.into()]);
            }
        }
        Kind::Flag => match value.as_bool() {
            Some(true) => options.push(option.into()),
            Some(false) => {}
            None => return Err(format!("{}: write true or false", full(section, key))),
        },
        Kind::Command => {
            let words = command_of(section, key, value)?;
            let joined = shlex::try_join(words.iter().map(String::as_str));
            let joined = joined.map_err(|why| format!("{}: {why}", full(section, key)))?;
            options.extend([option.into(), joined.into()]);
        }
        Kind::Last => last.extend(command_of(section, key, value)?.into_iter().map(OsString::from)),
    }
    Ok(())
}

fn text_of(section: &str, key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err(format!("{}: write a text or a number", full(section, key))),
    }
}

fn command_of(section: &str, key: &str, value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => words(text, &full(section, key)),
        Value::Array(list) => list.iter().map(|word| text_of(section, key, word)).collect(),
        _ => Err(format!("{}: write a command as text, or as a list of words", full(section, key))),
    }
}

fn full(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// Names the key that was perhaps meant.
fn unknown(section: &str, key: &str) -> String {
    let wrong = full(section, key);
    let all = KEYS.iter().map(|(section, key, ..)| full(section, key));
    let distance = |name: &String| {
        // The same key in another section is nearer than any other.
        let same = name.rsplit('.').next() == wrong.rsplit('.').next();
        if same { 0 } else { strsim::damerau_levenshtein(name, &wrong) }
    };
    let nearest = all.min_by_key(distance).unwrap_or_default();
    format!(
        "there is no key {wrong}\nhint: did you mean {nearest}? `sim init` writes a file with all of them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(program: &str, text: &str, arguments: &str) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let arguments = arguments.replace("FILE", file.path().to_str().unwrap());
        let words = expand(program, arguments.split(' ').map(OsString::from).collect());
        words.map(|words| words.join(" ".as_ref()).into_string().unwrap())
    }

    const FILE: &str = r#"
        datasets = "days"
        tests = ["a.csv", "b.csv"]
        [commands]
        prepare = "sh -c 'cat {input}'"
        train = ["python3", "train.py", "{input}"]
        [program]
        deterministic = true
        aliases = false
        [limits]
        item_timeout = "10m"
        retries = 2
        [run]
        workers = 4
        [env]
        A = "b"
        [containers]
        image = "mine:1"
        [resources]
        memory = "8Gi"
        [secrets]
        TOKEN = "hub:key"
        [node_selector]
        pool = "big"
    "#;

    #[test]
    fn a_file_becomes_options_before_those_of_the_command_line() {
        let run = expanded("sim", FILE, "sim run --workers 2 --scenario FILE --json").unwrap();
        assert_eq!(
            run,
            "sim run --prepare sh -c 'cat {input}' --datasets days --env A=b --item-timeout 10m --deterministic \
             --workers 4 --test a.csv --test b.csv --workers 2 --json -- python3 train.py {input}"
        );
        let work = expanded("worker", FILE, "worker run --scenario=FILE -- mine").unwrap();
        assert_eq!(
            work,
            "worker run --prepare sh -c 'cat {input}' --env A=b --item-timeout 10m --retries 2 --deterministic -- mine"
        );
        let cloud =
            expanded("cloud", FILE, "cloud --project p deploy --yes --scenario FILE --cpu 4").unwrap();
        assert_eq!(
            cloud,
            "cloud --project p deploy --prepare sh -c 'cat {input}' --image mine:1 --datasets days --env A=b --item-timeout \
             10m --retries 2 --node-selector pool=big --deterministic --memory 8Gi --workers 4 --secret-env TOKEN=hub:key \
             --yes --cpu 4 -- python3 train.py {input}"
        );
        let render = expanded("cloud", FILE, "cloud render --scenario FILE").unwrap();
        assert!(!render.contains("--datasets") && render.contains("--memory 8Gi"), "{render}");
        assert_eq!(expanded("sim", FILE, "sim explore --scenario FILE").unwrap().split(' ').count(), 4);
        assert_eq!(expanded("sim", FILE, "sim run -- x --scenario FILE").unwrap().split(' ').count(), 6);
    }

    #[test]
    fn what_no_option_says_is_refused_with_the_nearest_name() {
        let refused = |text: &str| expanded("sim", text, "sim run --scenario FILE").unwrap_err();
        assert!(refused("dataset = 'x'").contains("no key dataset\nhint: did you mean datasets?"));
        assert!(refused("[limits]\nworkers = 3").contains("did you mean run.workers?"));
        assert!(refused("[commands]\ntrian = 'x'").contains("did you mean commands.train?"));
        assert!(refused("[program]\ndeterministic = 'yes'").contains("write true or false"));
        assert!(refused("datasets = [1").contains("failed to read --scenario"));
        assert!(
            expand("sim", ["sim", "run", "--scenario"].map(OsString::from).into())
                .unwrap_err()
                .contains("names no file")
        );
    }
}
