//! `worker doctor`: tries what workers need of the volume and of the queue, and says of each whether it works. It
//! leaves nothing behind but the volume's id, and touches no run.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use nix::sys::statvfs::statvfs;
use serde::Serialize;

use super::table::{for_a_time, size};
use super::{Failure, QueueArgs, print};
use crate::contract::{Exit, HISTORY, OUTPUT, RUNS, TESTING, TRAINING};
use crate::item::{Item, Name};
use crate::queue::any::AnyQueue;
use crate::queue::{Inbox, Ownership, QueueError, Release, WorkQueue};
use crate::store::any::AnyStore;
use crate::store::{Keep, Put, Store, StoreError};
use crate::system::{Machine, System};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    queue: QueueArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Free space below which it is remarked: some runs of a small project.
const SPACE_BYTES_MIN: u64 = 1 << 30;
/// Difference of two clocks from which on times of events mislead.
const CLOCK_MS_MAX: u64 = 2_000;
/// Datasets of a folder that are opened, at most.
const OPENED_MAX: usize = 200;
/// The run under whose name the queue is tried.
const SCRATCH_RUN: &str = "doctor";
const LEASE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Ok,
    /// It works, and its operator should know.
    Note,
    Problem,
}

/// What was tried, and what came of it.
#[derive(Debug, Serialize)]
struct Finding {
    tried: &'static str,
    verdict: Verdict,
    said: String,
    hint: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Finding {
    fn ok(tried: &'static str, said: impl Into<String>) -> Self {
        Self { tried, verdict: Verdict::Ok, said: said.into(), hint: None, exit: Exit::Finished }
    }

    fn note(tried: &'static str, said: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { tried, verdict: Verdict::Note, said: said.into(), hint, exit: Exit::Finished }
    }

    fn problem(exit: Exit, tried: &'static str, said: impl Into<String>, hint: Option<String>) -> Self {
        Self { tried, verdict: Verdict::Problem, said: said.into(), hint, exit }
    }

    /// Of something tried on the volume.
    fn of_volume(tried: &'static str, said: &str, result: Result<(), StoreError>) -> Self {
        match result {
            Ok(()) => Self::ok(tried, said),
            Err(error) => {
                let hint = error.hint().map(str::to_owned);
                Self::problem(Exit::Volume, tried, error.to_string(), hint)
            }
        }
    }

    /// Of something tried on the queue.
    fn of_queue(tried: &'static str, said: &str, result: Result<(), QueueError>) -> Self {
        match result {
            Ok(()) => Self::ok(tried, said),
            Err(error) => {
                let Failure { why, hint, .. } = Failure::from(error);
                Self::problem(Exit::Queue, tried, why, hint)
            }
        }
    }
}

pub(crate) async fn doctor(args: DoctorArgs) -> Result<Exit, Failure> {
    let machine = Machine::new(false).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    let store = args.queue.store().await?;
    let findings = tokio::select! {
        biased;
        () = machine.stop_requested() => {
            return Err(Failure::of(Exit::Preempted, "told to stop before all was tried"));
        }
        findings = examine(&args.queue, &store, &machine) => findings,
    };
    if args.json {
        print(&(serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n"))?;
    } else {
        print(&text(&findings))?;
    }
    let problems: Vec<&Finding> = findings.iter().filter(|it| it.verdict == Verdict::Problem).collect();
    match problems.first() {
        None => Ok(Exit::Finished),
        Some(first) => {
            let count = problems.len();
            let reason = format!("{count} of {} checks found a problem", findings.len());
            Err(Failure::of(first.exit, reason).hint("each has its own above; then try again"))
        }
    }
}

async fn examine(args: &QueueArgs, store: &AnyStore, machine: &Machine) -> Vec<Finding> {
    let mut findings = commits(store, machine).await;
    findings.push(output(store, machine).await);
    for folder in [TRAINING, TESTING, HISTORY] {
        findings.extend(datasets(store, folder).await);
    }
    findings.extend(disk::space(args));
    findings.extend(disk::clock(args, machine));
    match args.open(store, SCRATCH_RUN).await {
        Err(failure) => {
            findings.push(Finding::problem(Exit::Queue, "queue", failure.why, failure.hint));
        }
        Ok(queue) => findings.extend(queue_findings(&queue, machine).await),
    }
    findings
}

/// What every commit needs, under names that nobody else has; what fails makes the rest pointless.
async fn commits(store: &AnyStore, machine: &Machine) -> Vec<Finding> {
    let name = |number: u8| format!("{RUNS}/doctor-{:032x}-{number}", machine.nonce());
    let (public, other) = (name(0), name(1));
    let mut findings = vec![Finding::of_volume(
        "write",
        "a file is written, synced and read back",
        store.put(&other, b"doctor", Keep::Durable).await,
    )];
    if findings[0].verdict == Verdict::Ok {
        findings.push(first_writer(store, &public, [name(2), name(3)]).await);
        findings.push(Finding::of_volume(
            "replace",
            "a file is replaced in one step",
            replaced(store, &public, &name(4)).await,
        ));
        findings.push(Finding::of_volume(
            "sync",
            "the names in a folder are synced",
            store.settle(RUNS).await,
        ));
        findings.push(Finding::of_volume("append", "a log is appended to", appended(store, &name(5)).await));
        findings.push(Finding::of_volume("delete", "a file is deleted", store.delete(&other).await));
    }
    for path in [&public, &other] {
        store.unstage(path).await;
    }
    findings
}

/// The first writer of a name wins, and the second learns of it.
async fn first_writer(store: &AnyStore, public: &str, private: [String; 2]) -> Finding {
    let (tried, mut puts) = ("commit", Vec::new());
    for (name, bytes) in private.iter().zip([b"1", b"2"]) {
        let put = match store.stage(name, bytes, Keep::Durable).await {
            Ok(staged) => store.put_if_absent(&staged, public).await,
            Err(error) => Err(error),
        };
        store.unstage(name).await;
        match put {
            Ok(put) => puts.push(put),
            Err(error) => return Finding::of_volume(tried, "", Err(error)),
        }
    }
    let expected = [Put::Ours { first: true }, Put::Theirs(b"1".to_vec())];
    if puts == expected {
        return Finding::ok(tried, "of two that put one name, the first wins and the second sees it");
    }
    let said = format!("two that put one name did not both see the first: {puts:?}");
    let hint = "workers must not share this volume: use ext4, xfs, btrfs, tmpfs or NFS";
    Finding::problem(Exit::Volume, tried, said, Some(hint.to_owned()))
}

async fn replaced(store: &AnyStore, public: &str, private: &str) -> Result<(), StoreError> {
    let staged = store.stage(private, b"3", Keep::Durable).await?;
    store.replace(&staged, public).await?;
    store.get(public).await.map(drop)
}

async fn appended(store: &AnyStore, path: &str) -> Result<(), StoreError> {
    let mut log = store.create_log(path).await?;
    let appended = store.append(&mut log, b"line\n").await;
    store.unstage(path).await;
    appended
}

/// At the end of a run a worker writes there: that it may not is better known before.
async fn output(store: &AnyStore, machine: &Machine) -> Finding {
    let path = format!("{OUTPUT}/.doctor-{:032x}", machine.nonce());
    let put = store.put(&path, b"doctor", Keep::Reproducible).await;
    store.unstage(&path).await;
    // Made for this, perhaps.
    store.delete_folder(OUTPUT).await;
    Finding::of_volume("output", "output/ takes files", put)
}

/// Whether the datasets of a folder can be opened.
async fn datasets(store: &AnyStore, folder: &'static str) -> Option<Finding> {
    let names = match store.list(folder).await {
        Ok(names) => names,
        Err(error) => return Some(Finding::of_volume("datasets", "", Err(error))),
    };
    if names.is_empty() {
        let hint = "copy files there, and push their paths: worker push";
        return (folder == TRAINING).then(|| Finding::note("datasets", format!("{folder} holds none"), hint));
    }
    for name in names.iter().take(OPENED_MAX) {
        if let Err(error) = store.get_range(&format!("{folder}/{name}"), 0, 1).await {
            let hint = "give files that the workers' user may read";
            let said = error.to_string();
            return Some(Finding::problem(Exit::Input, "datasets", said, Some(hint.to_owned())));
        }
    }
    Some(Finding::ok("datasets", format!("{folder} holds {}, which can be opened", names.len())))
}

/// Free bytes of a volume that is a folder.
pub(crate) fn free_bytes(volume: &Path) -> Option<u64> {
    let stats = statvfs(volume).ok()?;
    Some(stats.blocks_available() as u64 * stats.fragment_size() as u64)
}

/// What only a folder on a disk has.
mod disk {
    use nix::sys::statvfs::statvfs;

    use super::{CLOCK_MS_MAX, Finding, Machine, QueueArgs, RUNS, SPACE_BYTES_MIN, System, for_a_time, size};
    use crate::contract::Exit;

    pub(super) fn space(args: &QueueArgs) -> Option<Finding> {
        let stats = statvfs(args.on.volume.folder()?).ok()?;
        let free = super::free_bytes(args.on.volume.folder()?)?;
        // A file system that does not count files says that it has none.
        let is_out_of_files = stats.files() > 0 && stats.files_available() == 0;
        let hint = "remove the results of old runs: worker prune --keep N";
        Some(match free {
            _ if is_out_of_files => Finding::problem(
                Exit::Volume,
                "space",
                "it takes no more files (inodes)",
                Some(hint.to_owned()),
            ),
            0 => Finding::problem(Exit::Volume, "space", "there is none", Some(hint.to_owned())),
            _ if free < SPACE_BYTES_MIN => Finding::note("space", format!("{} are free", size(free)), hint),
            _ => Finding::ok("space", format!("{} are free", size(free))),
        })
    }

    /// The server's clock, by a file that was just made there.
    pub(super) fn clock(args: &QueueArgs, machine: &Machine) -> Option<Finding> {
        let path = args.on.volume.folder()?.join(RUNS).join(format!("doctor-{:032x}", machine.nonce()));
        std::fs::write(&path, b"clock").ok()?;
        let made = std::fs::metadata(&path).and_then(|meta| meta.modified());
        let now_ms = machine.wall_ms();
        let _ = std::fs::remove_file(&path);
        let made_ms = made.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
        Some(clocks("volume's", now_ms, u64::try_from(made_ms).ok()?))
    }

    pub(super) fn clocks(whose: &str, ours_ms: u64, theirs_ms: u64) -> Finding {
        let apart = ours_ms.abs_diff(theirs_ms);
        let said = format!("the {whose} clock and this machine's are {} apart", for_a_time(apart));
        if apart <= CLOCK_MS_MAX {
            return Finding::ok("clock", said);
        }
        let hint = "set them by NTP: results do not depend on it, the times in events, status and reports do";
        Finding::note("clock", said, hint)
    }
}

async fn queue_findings(queue: &AnyQueue, machine: &Machine) -> Vec<Finding> {
    let about = match queue.about().await {
        Ok(about) => about,
        Err(error) => return vec![Finding::of_queue("queue", "", Err(error))],
    };
    let mut findings = vec![Finding::ok("queue", about.server)];
    let clock = about.time_ms.map(|theirs_ms| disk::clocks("queue's", machine.wall_ms(), theirs_ms));
    findings.extend(clock);
    findings.extend(about.remarks.into_iter().map(|remark| match remark.is_problem {
        true => Finding::problem(Exit::Queue, "queue", remark.said, Some(remark.hint)),
        false => Finding::note("queue", remark.said, remark.hint),
    }));
    let worked = work(queue, machine).await;
    findings.push(Finding::of_queue(
        "lease",
        "an item is added, claimed, extended, released and done",
        worked,
    ));
    let (nothing, pushed) = (format!("doctor-{:032x}", machine.nonce()), queue.pushed().await);
    let said = pushed.as_ref().map_or_else(
        |_| String::new(),
        |pushed| format!("the list of pushed paths is read and written; it holds {}", pushed.len()),
    );
    let listed = match pushed {
        Ok(_) => queue.remove_pushed(&[nothing]).await,
        Err(error) => Err(error),
    };
    findings.push(Finding::of_queue("pushed", &said, listed));
    findings
}

/// Every operation of a worker, on an item that nobody else has.
async fn work(queue: &AnyQueue, machine: &Machine) -> Result<(), QueueError> {
    let nonce = machine.nonce();
    let name = Name::of("doctor", nonce as u32);
    let item = Item { rank: u64::from(nonce as u32), name };
    let lost = || QueueError::Refused("it did not hand out the item that was given to it".to_owned());
    queue.add(&[item]).await?;
    let claim = queue.claim("doctor", nonce, LEASE, &[item]).await?.ok_or_else(lost)?;
    queue.heartbeat(&claim, LEASE, 0).await?;
    queue.release(&claim, Duration::ZERO, Release::Preempted).await?;
    let claim = queue.claim("doctor", nonce, LEASE, &[item]).await?.ok_or_else(lost)?;
    if queue.ack(&claim, &[]).await? == Ownership::Lost {
        return Err(lost());
    }
    queue.counts().await.map(drop)
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { tried, verdict, said, hint, .. } in findings {
        let verdict = match verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Problem => "problem",
        };
        text += &format!("{verdict:<8} {tried:<9} {said}\n");
        if let Some(hint) = hint {
            text += &format!("{:<18} hint: {hint}\n", "");
        }
    }
    text
}
