//! From an item that one process makes claimable to another process's claim of it, where that one is idle: by hints,
//! and by polling alone as it was without them.
//!
//! `cargo run --release -p queues --example hints -- sqlite:/tmp/hints.sqlite` (or `redis://localhost`, and how many
//! items). Prints the median and the 95th percentile of each.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::item::{Item, Name};
use engine::queue::{QueueError, WorkQueue};
use queues::any::AnyQueue;

const IDLE: Duration = Duration::from_millis(50);
const LEASE: Duration = Duration::from_secs(60);
/// An item is made this long after the last one is claimed: the idle client waits by then.
const REST: Duration = Duration::from_millis(7);

fn item(index: u32) -> Item {
    Item { rank: 4 + u64::from(index), name: Name::of("prepare", index) }
}

/// Claims as an idle worker does.
async fn claim(queue: &AnyQueue, hears: bool) -> Result<(), QueueError> {
    for round in 0.. {
        if let Some(claim) = queue.claim("idle", 1, LEASE, &[]).await? {
            queue.ack(&claim, &[]).await?;
            return Ok(());
        }
        // Half of the pause and more, as the loop's jitter makes it.
        let pause = IDLE / 2 + IDLE * (round * 37 % 50) / 100;
        tokio::select! {
            () = queue.changed(), if hears => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn measure(url: &str, items: u32, hears: bool) -> Result<Vec<Duration>, QueueError> {
    let (idle, busy) = (AnyQueue::open(url, None, "hints", "1")?, AnyQueue::open(url, None, "hints", "1")?);
    let mut spans = Vec::new();
    for index in 0..items {
        let claimed = async {
            claim(&idle, hears).await?;
            Ok::<_, QueueError>(Instant::now())
        };
        let added = async {
            tokio::time::sleep(REST + Duration::from_millis(u64::from(index % 41))).await;
            let from = Instant::now();
            busy.add(&[item(index)]).await?;
            Ok(from)
        };
        let (claimed, added) = tokio::try_join!(claimed, added)?;
        spans.push(claimed - added);
    }
    spans.sort();
    Ok(spans)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!("error: no queue\nhint: hints URL [ITEMS]");
        return ExitCode::from(2);
    };
    let items = arguments.next().and_then(|items| items.parse().ok()).unwrap_or(200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, hears) in [("hints", true), ("polling", false)] {
        match runtime.block_on(measure(&url, items, hears)) {
            Ok(spans) => {
                let at = |share: usize| spans[(spans.len() - 1) * share / 100].as_secs_f64() * 1e3;
                println!("{name:<8} median {:7.3} ms   95 % {:7.3} ms   of {items} items", at(50), at(95));
            }
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
