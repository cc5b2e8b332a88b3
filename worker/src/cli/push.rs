//! `worker push` and `worker unpush`: what is pushed is looked at first, and what is pushed can be taken back.

use std::path::Path;

use clap::Args;

use super::{QueueArgs, print};
use crate::contract::{Exit, TRAINING};
use crate::failure::Failure;
use crate::manifest::{HIDDEN, is_hidden, normalise};
use crate::name_on;
use crate::queue::Inbox;
use crate::store::Store;
use crate::store::any::AnyStore;

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    queue: QueueArgs,
    /// Files of the volume, for instance datasets/training/2018-04-01.parquet. Paths that are absolute, or relative to
    /// this folder, are taken too where they lie on the volume.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

/// The folder that is the volume, and the store there.
struct Volume<'a> {
    root: &'a Path,
    store: AnyStore,
}

impl<'a> Volume<'a> {
    fn of(args: &'a PushArgs) -> Result<Self, Failure> {
        Ok(Self { root: &args.queue.volume, store: args.queue.store()? })
    }
}

/// A path that is not pushed: the exit code, why, and what to do.
#[derive(Debug)]
struct Objection {
    exit: Exit,
    why: String,
    hint: String,
}

/// Pushes all of the paths, or none.
pub(crate) async fn push(args: PushArgs) -> Result<Exit, Failure> {
    let volume = Volume::of(&args)?;
    let (mut paths, mut objections) = (Vec::new(), Vec::new());
    for given in &args.paths {
        match checked(&volume, given) {
            Ok(path) => paths.push(path),
            Err(objection) => objections.push((given, objection)),
        }
    }
    if !objections.is_empty() {
        return Err(refusal(&objections, args.paths.len()));
    }
    let queue = args.queue.open("push").await?;
    queue.push(&paths).await?;
    print(&format!("pushed {}\n", paths.len()))?;
    Ok(Exit::Finished)
}

/// Takes paths back that are pushed and not yet taken in by a run.
pub(crate) async fn unpush(args: PushArgs) -> Result<Exit, Failure> {
    let volume = Volume::of(&args)?;
    let queue = args.queue.open("push").await?;
    let pushed = queue.pushed().await?;
    let (mut gone, mut unknown) = (Vec::new(), Vec::new());
    for given in &args.paths {
        // As it was pushed, whatever that is, or as what it names.
        let wanted = on_volume(&volume, given).ok();
        let is_it =
            |raw: &&String| *raw == given || wanted.is_some() && name_on(&volume.store, raw).ok() == wanted;
        let found: Vec<String> = pushed.iter().filter(is_it).cloned().collect();
        if found.is_empty() {
            unknown.push(given.escape_debug().to_string());
        }
        gone.extend(found);
    }
    gone.sort_unstable();
    gone.dedup();
    queue.remove_pushed(&gone).await?;
    print(&format!("took back {}\n", gone.len()))?;
    if unknown.is_empty() {
        return Ok(Exit::Finished);
    }
    let hint = "a run may have taken it in already, which `worker status` shows: what is in a run stays";
    let doing = format!("take back {}", unknown.join(", "));
    Err(Failure::new(Exit::Input, doing, "it is not pushed").hint(hint))
}

/// A path as workers will find it, if they will.
fn checked(volume: &Volume<'_>, given: &str) -> Result<String, Objection> {
    let path = on_volume(volume, given)?;
    if is_hidden(&path) {
        let hint = "rename it, if it is a dataset".to_owned();
        return Err(Objection { exit: Exit::Usage, why: HIDDEN.to_owned(), hint });
    }
    let full = volume.root.join(&path);
    let missing = |why: String, hint: String| Err(Objection { exit: Exit::Input, why, hint });
    match full.metadata() {
        Ok(meta) if meta.is_file() => Ok(path),
        Ok(meta) if meta.is_dir() => {
            missing("it is a folder".to_owned(), format!("push its files: worker push {path}/*"))
        }
        Ok(_) => missing("it is no file".to_owned(), "push files".to_owned()),
        Err(_) if path.contains(['*', '?', '[']) => missing(
            "no file of the volume has this name: the pattern matched nothing".to_owned(),
            format!("a shell expands patterns from its own folder: go to {} first", volume.root.display()),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            missing("it is not on the volume".to_owned(), nearest(volume, &path))
        }
        Err(error) => missing(error.to_string(), "give a file that workers may read".to_owned()),
    }
}

/// The path relative to the volume that is meant: as given; or where that is not there, as it would be seen from
/// this folder.
fn on_volume(volume: &Volume<'_>, given: &str) -> Result<String, Objection> {
    let trimmed = given.trim();
    let path = name_on(&volume.store, trimmed);
    if path.as_ref().is_ok_and(|path| volume.root.join(path).exists()) {
        return path.map_err(|why| outside(volume, why));
    }
    // The name alone may be a link that leads elsewhere: its folder tells where it lies.
    let here = Path::new(trimmed);
    let folder =
        here.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let seen = folder.and_then(|folder| Some(folder.canonicalize().ok()?.join(here.file_name()?)));
    let seen = seen.filter(|seen| seen.exists()).and_then(|seen| volume.store.inside(seen.to_str()?));
    seen.map_or(path, |seen| normalise(&seen)).map_err(|why| outside(volume, why))
}

fn outside(volume: &Volume<'_>, why: String) -> Objection {
    let root = volume.root.display();
    Objection { exit: Exit::Usage, why, hint: format!("give a path below the volume, which is {root}") }
}

/// What may have been meant by a file that is not there.
fn nearest(volume: &Volume<'_>, path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let names = volume.root.join(folder).read_dir().map(|entries| {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| !is_hidden(name)).collect::<Vec<_>>()
    });
    let Ok(mut names) = names else {
        return format!("paths are relative to the volume, as {TRAINING}/2018-04-01.parquet");
    };
    names.sort_unstable();
    let alike = |other: &&String| other.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    match names.iter().rev().max_by_key(alike) {
        Some(other) if alike(&other) > 0 => {
            let slash = if folder.is_empty() { "" } else { "/" };
            format!("there is {folder}{slash}{other}")
        }
        _ => "copy it there first: workers read what is pushed".to_owned(),
    }
}

/// Why nothing of `all` paths was pushed.
fn refusal(objections: &[(&String, Objection)], all: usize) -> Failure {
    // What no volume can hold comes before what this one lacks.
    let exit = objections.iter().map(|(_, objection)| objection.exit).min().unwrap_or(Exit::Usage);
    if let [(given, Objection { why, hint, .. })] = objections {
        return Failure::new(exit, format!("push {}", given.escape_debug()), why).hint(hint);
    }
    let line = |(given, Objection { why, hint, .. }): &(&String, Objection)| {
        format!("\n  {}: {why} ({hint})", given.escape_debug())
    };
    let lines: String = objections.iter().map(line).collect();
    let doing = format!("push {} of {all} paths", objections.len());
    let failure = Failure::new(exit, doing, format!("nothing was pushed{lines}"));
    failure.hint("correct these paths, or leave them out, and push again")
}
