//! The story of a world in words that a newcomer understands.

use worker::events::What;
use worker::item::Name;
use worker::queue::Release;

use super::fault::FaultKind;
use super::nfs::Call;
use super::site::Site;

/// A time in words: `1.5 s`, `20 ms`.
pub fn span(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{} s", ms as f64 / 1_000.0) }
}

fn item(item: Name) -> String {
    match (item.step(), item.index()) {
        ("begin", None) => "the beginning of the run".to_owned(),
        ("intake", None) => "the intake of pushed datasets".to_owned(),
        ("fold", None) => "the fold".to_owned(),
        ("report", None) => "the report".to_owned(),
        ("prepare", Some(index)) => format!("the preparation of dataset {index}"),
        ("join", Some(index)) => format!("the join of dataset {index}"),
        ("evaluate", Some(index)) => format!("the evaluation of checkpoint {index}"),
        _ => item.to_string(),
    }
}

fn short(path: &str) -> &str {
    path.split_once('/').and_then(|(_, rest)| rest.split_once('/')).map_or(path, |(_, rest)| rest)
}

/// An event of a worker; `None` for events that say nothing to a reader.
pub fn event(what: &What) -> Option<String> {
    Some(match what {
        What::Began { item: of, .. } => format!("begins {}", item(*of)),
        What::Foreign { item } => format!("removes {item} from the queue, which is no item of the run"),
        What::Started { .. } => "starts to work".to_owned(),
        What::Claimed { item: of, token, taken_over_from, .. } => {
            let from = taken_over_from
                .as_ref()
                .map_or_else(String::new, |worker| format!(", whose lease by {worker} has expired"));
            format!("claims {} with token {token}{from}", item(*of))
        }
        What::Resumed { done, total, from, .. } => {
            format!("goes on at step {done} of {total}, which {} saved", short(from))
        }
        What::Saved { done, total, .. } if done > total => "saves its progress".to_owned(),
        What::Saved { done, total, .. } => format!("saves its progress: step {done} of {total}"),
        What::Intent { path, hash, .. } => format!("is about to link {} ({})", short(path), hash.short()),
        What::Committed { path, hash, won, .. } => {
            let how = if *won { "has committed" } else { "finds committed by another:" };
            format!("{how} {} ({})", short(path), hash.short())
        }
        What::Repaired { path, .. } => format!("replaces the torn {}", short(path)),
        What::Acked { item: of, held, .. } => {
            let how = if *held { "" } else { ", which the queue had given to another, or did not hear" };
            format!("is done with {}{how}", item(*of))
        }
        What::GaveBack { item: of, why, reason, .. } => {
            let why = match why {
                Release::Preempted => "must go",
                Release::NotReady => "cannot do it yet",
                Release::Failed => "failed",
            };
            let reason = reason.lines().next().unwrap_or_default();
            format!("releases {}: {why} ({reason})", item(*of))
        }
        What::LeaseLost { item: of, .. } => {
            format!("notices that its lease of {} is lost, and goes on", item(*of))
        }
        What::Stalled { item: of, .. } => format!("sends no heartbeat for {}: no progress", item(*of)),
        What::TookIn { chapter, paths } => {
            format!("has taken {} pushed into chapter {chapter}", count(paths.len() as u64, "dataset"))
        }
        What::Refused { path, reason } => format!("refuses {}: {reason}", path.escape_debug()),
        What::Continues { run, datasets } => format!("continues run {run} with {datasets} datasets"),
        What::BeganFromNothing { earlier } => format!("begins from nothing, after run {earlier}"),
        What::LeftOut { tally } => format!("finds left out: {}", tally.left_out()),
        What::Requeued { items } => {
            format!("tells the queue of {} that it did not know of", count(*items, "item"))
        }
        What::QueueAway { error } => format!("cannot reach the queue: {error}"),
        What::QueueBack => "reaches the queue again".to_owned(),
        What::Waits { reason } => format!("waits: {reason}"),
        What::Sealed { datasets } => format!("seals the run, of {}", count(u64::from(*datasets), "dataset")),
        What::Reported { hash } => format!("has committed the report ({})", hash.short()),
        What::Audited { path, equal, by_digest, .. } => {
            let how = match (equal, by_digest) {
                (true, false) => "equal",
                (true, true) => "equal by digest",
                (false, _) => "different",
            };
            format!("does {} twice: {how}", short(path))
        }
        What::Violation { path, .. } => format!("finds other bytes at {}: the run is void", short(path)),
        What::Exited { code, reason } => {
            format!("exits with code {code}: {}", reason.lines().next().unwrap_or_default())
        }
        What::Progress { .. } | What::Stopping => return None,
    })
}

pub fn count(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

fn at(site: Site<'_>) -> String {
    match site {
        Site::Volume(Call::Link(_, to)) => format!("link to {}", short(to)),
        Site::Volume(call) => format!("{} {}", call.operation(), short(call.path())),
        Site::Queue(ask) => format!("queue: {}", ask.name()),
        Site::Compute => "computing".to_owned(),
    }
}

/// A fault, at the call that it is injected into.
pub fn fault(what: &FaultKind, number: u64, site: Site<'_>) -> String {
    let text = match what {
        FaultKind::Kill { after, back_ms } => format!(
            "the machine is gone without notice, {} the call took effect; a new one comes in {}",
            if *after { "after" } else { "before" },
            span(*back_ms)
        ),
        FaultKind::Notice { back_ms } => format!(
            "the machine gets notice to stop (SIGTERM); a new one comes {} after it is gone",
            span(*back_ms)
        ),
        FaultKind::Pause { ms } => format!("the machine stands still for {}", span(*ms)),
        FaultKind::Late { ms, .. } => {
            format!("the machine is gone, and its call arrives {} later", span(*ms))
        }
        FaultKind::ClockJump { hours } => format!("its wall clock jumps by {hours} hours"),
        FaultKind::Twin => "a second machine of the same name starts".to_owned(),
        FaultKind::ReplyLost { .. } => "the call takes effect, and its answer is lost".to_owned(),
        FaultKind::Error { .. } => "the call fails (EIO)".to_owned(),
        FaultKind::Stale { .. } => "the call fails (ESTALE)".to_owned(),
        FaultKind::CloseError => "what was written is partly lost, and the client gets EIO".to_owned(),
        FaultKind::NoSpace { ms } => format!("the disk is full for {}", span(*ms)),
        FaultKind::StaleLookups { ms } => format!("for {} this machine sees the names of now", span(*ms)),
        FaultKind::ServerRestart { ms } => {
            format!("the volume's server restarts, and is back in {}", span(*ms))
        }
        FaultKind::PowerLoss { back_ms } => format!(
            "the power is gone: all machines stop, what was not synced may be lost; back in {}",
            span(*back_ms)
        ),
        FaultKind::Hang { ms } => format!("the call takes {} longer", span(*ms)),
        FaultKind::Tear => "a committed result loses its tail: a disk lied".to_owned(),
        FaultKind::SillyRename { ms } => format!("the removed file stays for {} as .nfs…", span(*ms)),
        FaultKind::Misread { missing: true } => "the dataset cannot be found, for once".to_owned(),
        FaultKind::Misread { missing: false } => "the dataset reads as something else, for once".to_owned(),
        FaultKind::Conflict => "the bucket says that others write to the name (409)".to_owned(),
        FaultKind::Cut => "the bucket's answer breaks off".to_owned(),
        FaultKind::Throttle { ms } => {
            format!("for {} each name of the bucket takes one write a second (429)", span(*ms))
        }
        FaultKind::QueueReplyLost => "the queue does it, and its answer is lost".to_owned(),
        FaultKind::QueueError => "the connection to the queue breaks".to_owned(),
        FaultKind::QueueAway { ms } => format!("the queue is away for {}", span(*ms)),
        FaultKind::QueueSlow { ms } => format!("the queue answers {} later", span(*ms)),
        FaultKind::QueueLastSecond => "the queue restarts without its last second".to_owned(),
        FaultKind::QueueRollback { ms } => format!("the queue goes back to its state of {} ago", span(*ms)),
        FaultKind::QueueWiped => "the queue loses everything".to_owned(),
        FaultKind::QueueClockBack { minutes } => {
            format!("the queue's clock is set back by {}", span(minutes * 60_000))
        }
        FaultKind::QueueMisconf { ms } => format!("the queue refuses to write for {} (MISCONF)", span(*ms)),
        FaultKind::QueueReadOnly { ms } => {
            format!("the queue fails over, 100 ms behind, and is read-only for {}", span(*ms))
        }
    };
    format!("call {number} ({}): {text}", at(site))
}
