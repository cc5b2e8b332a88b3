//! `worker push` and `worker unpush`: what is pushed is looked at first, and what is pushed can be taken back.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::{QueueArgs, print};
use crate::contract::{Exit, TRAINING};
use crate::failure::Failure;
use crate::manifest::{HIDDEN, is_hidden, normalise};
use crate::name_on;
use crate::path::{folder_of, name_of};
use crate::queue::Inbox;
use crate::store::any::AnyStore;
use crate::store::{Kind, Store, StoreError};

/// How long the first byte of a file may take.
const READ_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    queue: QueueArgs,
    /// Files of the volume, for instance datasets/training/2018-04-01.parquet. Absolute paths,
    /// paths relative to this folder, and URLs of a bucket work too, if they lie on the volume.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
}

/// The store that is the volume, and its name on the command line.
struct Volume {
    shown: String,
    store: AnyStore,
}

impl Volume {
    async fn of(args: &PushArgs) -> Result<Self, Failure> {
        Ok(Self { shown: args.queue.on.volume.to_string(), store: args.queue.store().await? })
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
    let volume = Volume::of(&args).await?;
    let (mut paths, mut objections) = (Vec::new(), Vec::new());
    for given in &args.paths {
        match checked(&volume, given).await {
            Ok(path) => paths.push(path),
            Err(objection) => objections.push((given, objection)),
        }
    }
    if !objections.is_empty() {
        return Err(refusal(&objections, args.paths.len()));
    }
    let queue = args.queue.open(&volume.store, "push").await?;
    queue.push(&paths).await?;
    print(&format!("pushed {}\n", paths.len()))?;
    Ok(Exit::Finished)
}

/// Takes paths back that are pushed and not yet taken in by a run.
pub(crate) async fn unpush(args: PushArgs) -> Result<Exit, Failure> {
    let volume = Volume::of(&args).await?;
    let queue = args.queue.open(&volume.store, "push").await?;
    let pushed = queue.pushed().await?;
    let (mut gone, mut unknown) = (Vec::new(), Vec::new());
    for given in &args.paths {
        // As it was pushed, whatever that is, or as what it names.
        let wanted = on_volume(&volume, given).await.ok();
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
async fn checked(volume: &Volume, given: &str) -> Result<String, Objection> {
    let path = on_volume(volume, given).await?;
    if is_hidden(&path) {
        let hint = "hidden files are skipped: rename it, if it is a dataset".to_owned();
        return Err(Objection { exit: Exit::Usage, why: HIDDEN.to_owned(), hint });
    }
    let is_folder = || ("it is a folder".to_owned(), format!("push its files: worker push {path}/*"));
    match first_byte(&volume.store, &path).await {
        Ok(()) => Ok(path),
        Err(error) => {
            let (why, hint) = match error.kind {
                Kind::NotFound if path.contains(['*', '?', '[']) => (
                    "no file of the volume has this name: the pattern matched nothing".to_owned(),
                    match volume.store.is_bucket() {
                        true => "a shell knows no names of a bucket: give each".to_owned(),
                        false => {
                            format!(
                                "a shell expands patterns from its own folder: go to {} first",
                                volume.shown
                            )
                        }
                    },
                ),
                // In a bucket a folder is but the beginning of names.
                Kind::NotFound if volume.store.list(&path).await.is_ok_and(|names| !names.is_empty()) => {
                    is_folder()
                }
                Kind::NotFound => ("it is not on the volume".to_owned(), nearest(volume, &path).await),
                Kind::NoFile => is_folder(),
                _ => (error.detail, "give a file that workers can read".to_owned()),
            };
            Err(Objection { exit: Exit::Input, why, hint })
        }
    }
}

/// Tries to read a file, as a worker will.
async fn first_byte(store: &AnyStore, path: &str) -> Result<(), StoreError> {
    store.size(path).await?;
    match timeout(READ_WAIT, store.get_range(path, 0, 1)).await {
        Ok(read) => read.map(|_| ()),
        // A pipe, or a server that hangs.
        Err(_) => Err(StoreError {
            kind: Kind::Io,
            operation: "read",
            path: path.to_owned(),
            detail: format!("nothing could be read of it in {} s", READ_WAIT.as_secs()),
        }),
    }
}

/// The path relative to the volume that is meant: as given; or where that is not there, as it would be seen from
/// this folder.
async fn on_volume(volume: &Volume, given: &str) -> Result<String, Objection> {
    let trimmed = given.trim();
    let path = name_on(&volume.store, trimmed);
    if let Ok(path) = &path
        && is_there(volume, path).await
    {
        return Ok(path.clone());
    }
    match seen_from_here(volume, trimmed) {
        Some(seen) if is_there(volume, &seen).await => normalise(&seen),
        _ => path,
    }
    .map_err(|why| {
        let hint = format!("give a path below the volume, which is {}", volume.shown);
        Objection { exit: Exit::Usage, why, hint }
    })
}

async fn is_there(volume: &Volume, path: &str) -> bool {
    volume.store.exists(path).await.unwrap_or(false)
}

/// What a path of this machine names on the volume. The name alone may be a link that leads elsewhere: its folder
/// tells where it lies.
fn seen_from_here(volume: &Volume, given: &str) -> Option<String> {
    let path = Path::new(given);
    let folder = path.parent()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    volume.store.inside(folder.canonicalize().ok()?.join(path.file_name()?).to_str()?)
}

/// What may have been meant by a file that is not there.
async fn nearest(volume: &Volume, path: &str) -> String {
    let (folder, name) = (folder_of(path), name_of(path));
    let mut names = volume.store.list(folder).await.unwrap_or_default();
    names.retain(|name| !is_hidden(name));
    if names.is_empty() {
        return format!("paths are relative to the volume, as {TRAINING}/2018-04-01.parquet");
    }
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
