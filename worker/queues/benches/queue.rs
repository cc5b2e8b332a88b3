//! Claims and acknowledgements a second through the Redis queue, at 1 and at 16 connections, beside the
//! same two scripts through redis-benchmark: `just bench-queue` runs both against one server.
//!
//! Prints one line of JSON. Arguments: the server's URL, and jobs per measurement.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::item::{Item, Name};
use engine::queue::{QueueError, WorkQueue};
use queues::redis::Redis;
use queues::redis::script::{ACK, CLAIM, Script};

const LEASE: Duration = Duration::from_secs(60);

/// An item as a pipeline of two stages has it.
fn item(step: &str, index: u32) -> Item {
    Item { rank: 4 + 8 * u64::from(index) + u64::from(step == "join"), name: Name::of(step, index) }
}

/// Claims and acknowledges until nothing is left; each acknowledgement names a next item, as on a
/// run's way.
async fn drain(url: &str, run: &str, most: u32) -> Result<u32, QueueError> {
    let queue = Redis::open(url, "bench", run)?;
    let mut done = 0;
    while done < most
        && let Some(claim) = queue.claim("bench", u128::from(done), LEASE, &[]).await?
    {
        queue.ack(&claim, &[item("join", done)]).await?;
        done += 1;
    }
    Ok(done)
}

/// Jobs a second with this number of connections, each its own handle.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn measure(url: &str, connections: u32, jobs: u32) -> Result<f64, QueueError> {
    let run = format!("bench-{connections}");
    let queue = Redis::open(url, "bench", &run)?;
    let items: Vec<Item> = (0..2 * jobs).map(|index| item("prepare", index)).collect();
    queue.add(&items).await?;
    let began = Instant::now();
    let mut drains = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (url, run) = (url.to_owned(), run.clone());
        drains.spawn_local(async move { drain(&url, &run, jobs / connections).await });
    }
    let mut done = 0;
    while let Some(ended) = drains.join_next().await {
        done += ended.expect("no panic")?;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(url), Some(jobs)) = (arguments.next(), arguments.next().and_then(|jobs| jobs.parse().ok()))
    else {
        // `cargo bench` without a server: the scripts' texts for redis-benchmark, then nothing.
        for (name, parts) in [("claim", CLAIM), ("ack", ACK)] {
            println!("-- {name}\n{}", Script::new(parts).text());
        }
        eprintln!("SKIPPED: give the URL of a Redis server and a number of jobs");
        return ExitCode::SUCCESS;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let measured = local.block_on(&runtime, async {
        Ok::<_, QueueError>((measure(&url, 1, jobs).await?, measure(&url, 16, jobs).await?))
    });
    match measured {
        Ok((one, sixteen)) => {
            println!("{{\"jobs_per_s_1\": {one:.0}, \"jobs_per_s_16\": {sixteen:.0}}}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("failed to use the queue: {error}");
            ExitCode::FAILURE
        }
    }
}
