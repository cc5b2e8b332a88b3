//! What happened on the way: typed, versioned JSON lines, one file an incarnation of a worker.
//! The only account for terminal, report page and metrics; what is *true* is read from commits.

use std::cell::{Cell, RefCell};

use serde::{Deserialize, Serialize};

use crate::contract::{FORMAT_VERSION, RunPaths};
use crate::hash::Hash;
use crate::item::Name;
use crate::queue::Release;
use crate::report::Tally;
use crate::store::Store;

/// One line of an event file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of this format.
    pub v: u32,
    /// By the worker's wall clock; never compared between machines.
    pub at_ms: u64,
    /// The worker's name.
    pub worker: String,
    /// Counts this incarnation's events from 0.
    pub seq: u64,
    #[serde(flatten)]
    /// What happened.
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs, reason = "one word for both: the field that a person reads in the line")]
pub enum What {
    Started {
        pid: u32,
        run: String,
        /// Whether the queue had nothing when the worker came.
        queue_empty: bool,
    },
    Claimed {
        item: Name,
        token: u64,
        attempt: String,
        /// The dataset's path, where the item is a dataset's.
        dataset: Option<String>,
        taken_over_from: Option<String>,
        /// How many workers in a row died at the item and made no progress.
        #[serde(default)]
        lost: u32,
    },
    /// The chain goes on with a dataset that it reads itself. The item is named as one of that dataset.
    Began {
        item: Name,
        dataset: String,
    },
    /// Goes on from progress that another attempt saved.
    Resumed {
        item: Name,
        done: u64,
        total: u64,
        from: String,
    },
    Progress {
        item: Name,
        done: u64,
        total: u64,
    },
    Saved {
        item: Name,
        done: u64,
        total: u64,
    },
    /// Written before the link, so that a crash in between leaves a trace.
    Intent {
        item: Name,
        path: String,
        hash: Hash,
        attempt: String,
    },
    Committed {
        item: Name,
        path: String,
        hash: Hash,
        attempt: String,
        /// Whether this attempt's file is the public one; false if another's was there first.
        won: bool,
    },
    /// A torn public file was replaced.
    Repaired {
        path: String,
        attempt: String,
    },
    Acked {
        item: Name,
        token: u64,
        held: bool,
    },
    GaveBack {
        item: Name,
        token: u64,
        why: Release,
        reason: String,
    },
    LeaseLost {
        item: Name,
        token: u64,
    },
    /// The work made no progress for `Config::stall`: its worker sends no more heartbeats.
    Stalled {
        item: Name,
        token: u64,
    },
    TookIn {
        chapter: u32,
        paths: Vec<String>,
    },
    /// A pushed path that does not become part of the run.
    Refused {
        path: String,
        reason: String,
    },
    /// The queue handed out a name that is no item of this run's pipeline; it was removed.
    Foreign {
        item: Name,
    },
    /// The run begins with the last state of an earlier run, and this number of its datasets.
    Continues {
        run: String,
        datasets: u32,
    },
    /// The run begins with no model, though another run on the volume ended with one.
    BeganFromNothing {
        earlier: String,
    },
    /// The run is complete, and this was left out.
    LeftOut {
        tally: Tally,
    },
    /// The queue was given items that it did not know of.
    Requeued {
        items: u64,
    },
    QueueAway {
        error: String,
    },
    QueueBack,
    /// Nothing can be done, and not for want of work; reported once, until that has passed.
    Waits {
        reason: String,
    },
    Stopping,
    Sealed {
        datasets: u32,
    },
    Reported {
        hash: Hash,
    },
    /// An item was done twice and compared, before it was committed.
    Audited {
        item: Name,
        path: String,
        equal: bool,
        /// The bytes differ, and what counts of them was compared.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_digest: bool,
    },
    Violation {
        path: String,
        attempts: Vec<String>,
    },
    Exited {
        code: u8,
        reason: String,
    },
}

/// The fields of a line before those of what happened.
#[derive(Serialize)]
struct Head<'a> {
    v: u32,
    at_ms: u64,
    worker: &'a str,
    seq: u64,
}

impl Event {
    /// Appends the event's line. It is what serde writes for the whole event, without the detour over a map by which serde
    /// flattens one structure into another: that took twice as long.
    fn write(&self, lines: &mut Vec<u8>) {
        let begin = lines.len();
        let head = Head { v: self.v, at_ms: self.at_ms, worker: &self.worker, seq: self.seq };
        let head = serde_json::to_writer(&mut *lines, &head);
        let end = lines.len();
        match head.and_then(|()| serde_json::to_writer(&mut *lines, &self.what)) {
            Ok(()) => {
                // One object of the two: `}{` between them becomes `,`.
                lines[end - 1] = b',';
                lines.remove(end);
                lines.push(b'\n');
            }
            // Strings and numbers can always be written.
            Err(_) => lines.truncate(begin),
        }
    }
}

/// The step by which a dataset is begun that is claimed by itself.
const FIRST: &str = "prepare";

/// The dataset that an item begins with.
pub fn first_of(item: Name) -> Option<u32> {
    item.index().filter(|_| item.has_step(FIRST))
}

impl What {
    /// Whether a worker begins with a dataset.
    pub fn begins(&self) -> bool {
        match self {
            Self::Claimed { item, .. } => first_of(*item).is_some(),
            Self::Began { .. } => true,
            _ => false,
        }
    }
}

/// Receives every event as it is noted: logs, the simulator's story.
pub type EventSink<'a> = &'a dyn Fn(&Event);

/// A worker's own event file. Lines wait in memory while the volume cannot take them.
pub struct EventLog<'a, F> {
    worker: String,
    nonce: u128,
    sink: EventSink<'a>,
    seq: Cell<u64>,
    pending: RefCell<Vec<u8>>,
    file: RefCell<Option<F>>,
    files_tried: Cell<u32>,
}

impl<F> std::fmt::Debug for EventLog<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventLog({}-{:032x}, {} events)", self.worker, self.nonce, self.seq.get())
    }
}

/// What waits for the volume is mostly shorter: a line or two.
const LINES_BYTES: usize = 1 << 9;
/// Beyond this many bytes waiting for the volume, further lines are dropped rather than letting
/// memory grow: checks derive truth from commits, never from events.
const PENDING_BYTES_MAX: usize = 4 << 20;

impl<'a, F> EventLog<'a, F> {
    /// The log of one incarnation, which its nonce identifies.
    pub fn new(worker: &str, nonce: u128, sink: EventSink<'a>) -> Self {
        Self {
            worker: worker.to_owned(),
            nonce,
            sink,
            seq: Cell::new(0),
            pending: RefCell::default(),
            file: RefCell::new(None),
            files_tried: Cell::new(0),
        }
    }

    /// Notes an event without waiting for the volume.
    pub fn note(&self, at_ms: u64, what: What) {
        let event =
            Event { v: FORMAT_VERSION, at_ms, worker: self.worker.clone(), seq: self.seq.get(), what };
        self.seq.set(event.seq + 1);
        (self.sink)(&event);
        let mut pending = self.pending.borrow_mut();
        if pending.is_empty() {
            pending.reserve(LINES_BYTES);
        }
        if pending.len() < PENDING_BYTES_MAX {
            event.write(&mut pending);
        }
    }

    /// Writes what was noted. A failure, or being dropped on the way, keeps it for the next time and
    /// harms nothing else.
    pub async fn flush<S: Store<Log = F>>(&self, store: &S, paths: &RunPaths) {
        let lines = self.pending.take();
        if lines.is_empty() {
            return;
        }
        let mut flight = Flight { log: self, lines, file: self.file.take() };
        if flight.file.is_none() {
            flight.file = store.create_log(&self.fresh_path(paths)).await.ok();
        }
        if let Some(file) = &mut flight.file
            && store.append(file, &flight.lines).await.is_ok()
        {
            flight.lines.clear();
        }
    }

    /// Writes what was noted, and lets others see all of it: nothing more will come.
    pub async fn end<S: Store<Log = F>>(&self, store: &S, paths: &RunPaths) {
        self.flush(store, paths).await;
        let file = self.file.take();
        if let Some(mut file) = file {
            let _ = store.show(&mut file).await;
        }
    }

    /// A name that was not tried before: a file whose creation went unanswered may exist, and is
    /// then nobody's.
    fn fresh_path(&self, paths: &RunPaths) -> String {
        let tried = self.files_tried.replace(self.files_tried.get() + 1);
        let again = if tried == 0 { String::new() } else { format!(".{tried}") };
        format!("{}/{}-{:032x}{again}.jsonl", paths.events(), self.worker, self.nonce)
    }
}

/// Lines on their way to the volume. Whatever ends the way, the log has its file back, and those
/// lines of which nobody knows that they were written.
struct Flight<'l, 'a, F> {
    log: &'l EventLog<'a, F>,
    lines: Vec<u8>,
    file: Option<F>,
}

impl<F> Drop for Flight<'_, '_, F> {
    fn drop(&mut self) {
        self.log.file.replace(self.file.take());
        if self.lines.is_empty() {
            return;
        }
        // The last line may be torn: what follows starts on a line of its own.
        let mut kept = vec![b'\n'];
        kept.extend(self.lines.strip_prefix(b"\n").unwrap_or(&self.lines));
        kept.append(&mut self.log.pending.borrow_mut());
        self.log.pending.replace(kept);
    }
}

/// Reads an event file: its events, and how many lines are torn or of another version. A line that
/// was written again after a failed write counts once.
pub fn parse(bytes: &[u8]) -> (Vec<Event>, usize) {
    let mut events: Vec<Event> = Vec::new();
    let mut unreadable = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Event>(line) {
            Ok(event) if event.v == FORMAT_VERSION => {
                if events.last().is_none_or(|last| last.seq < event.seq) {
                    events.push(event);
                }
            }
            _ => unreadable += 1,
        }
    }
    (events, unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_serde_writes_for_the_event() {
        let item = Name::of("prepare", 3);
        let hash = Hash::of(b"x");
        for what in [
            What::Stopping,
            What::Started { pid: 7, run: "a\"b\n".to_owned(), queue_empty: true },
            What::Committed { item, path: "p".to_owned(), hash, attempt: "a".to_owned(), won: false },
            What::LeftOut { tally: Tally::default() },
            What::Violation { path: String::new(), attempts: vec!["{}".to_owned(), "}{".to_owned()] },
        ] {
            let event =
                Event { v: FORMAT_VERSION, at_ms: u64::MAX, worker: "w\\é}".to_owned(), seq: 0, what };
            let mut line = b"before\n".to_vec();
            event.write(&mut line);
            let written = serde_json::to_string(&event).expect("strings and numbers");
            assert_eq!(String::from_utf8(line), Ok(format!("before\n{written}\n")));
        }
    }

    #[test]
    fn a_torn_tail_is_counted_and_the_rest_is_read() {
        let log = EventLog::<()>::new("w", 1, &|_| {});
        log.note(5, What::Stopping);
        log.note(6, What::QueueBack);
        let bytes = log.pending.take();
        assert_eq!(parse(&bytes).0.len(), 2);
        let (events, unreadable) = parse(&bytes[..bytes.len() - 5]);
        assert_eq!((events.len(), unreadable), (1, 1));
        assert_eq!(events[0].what, What::Stopping);
    }
}
