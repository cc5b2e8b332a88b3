//! The workers' events as they reach the volume, through the staging pod.

use std::time::Duration;

use cloud::k8s::exec::PodExec;
use cloud::k8s::objects::MOUNT;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc::UnboundedSender;
use worker::events::Event;

/// Delay before the reconnect to a broken connection.
const AGAIN: Duration = Duration::from_millis(500);
/// Bytes between the connection and the lines.
const BUFFER: usize = 64 * 1024;

/// Tells every event of a run, one worker's in their order; after a connection that broke, all of them
/// once more. It never ends.
pub async fn feed(inside: PodExec, run: String, tell: UnboundedSender<Event>) {
    loop {
        let (output, input) = tokio::io::duplex(BUFFER);
        let (ended, ()) = tokio::join!(follow(&inside, &run, output), read(input, &tell));
        tracing::debug!(?ended, "the connection to the events ended");
        tokio::time::sleep(AGAIN).await;
    }
}

async fn follow(inside: &PodExec, run: &str, mut to: tokio::io::DuplexStream) -> cloud::error::Result<()> {
    let script = format!("exec worker events --volume {MOUNT} --run {run} --follow");
    // Standard input stays open for as long as somebody listens here: its end ends the command.
    let hold = async |_open| std::future::pending::<std::io::Result<()>>().await;
    inside.pipe(&script, hold, &mut to, "follow the workers' events").await
}

async fn read(from: tokio::io::DuplexStream, tell: &UnboundedSender<Event>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A line that a kill tore is no event, and what it would have reported did not happen.
        if let Ok(event) = serde_json::from_str(&line) {
            let _ = tell.send(event);
        }
    }
}
