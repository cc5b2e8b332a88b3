//! The logs of all the workers of a Job, as a person reads them.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use super::follow::{Follower, Next};
use super::log::{Line, lines};
use super::object::failed;
use super::objects::{Config, DEPLOYMENT_LABEL, PART_LABEL, WORKLOAD};
use super::{attend, watch};
use crate::clock::{Clock as _, SystemClock};
use crate::error::Result;

/// How long the log of an ended Job is waited for; that of a pod on a lost machine never ends.
const LAST_LINES: Duration = Duration::from_secs(10);

/// The workers' lines that are there.
pub(super) async fn show(client: &Client, deployment: &str, tell: &mut dyn FnMut(&str)) -> Result<()> {
    let mut follower = Follower::default();
    for pod in worker_pods(client, deployment).await? {
        let mut lines = lines_of(client, pod.name_any(), false);
        while let Some((pod, line)) = lines.next().await {
            tell_line(&pod, line, &mut follower, tell);
        }
    }
    Ok(())
}

/// The workers' lines as they come, from every pod that comes, until the Job is over.
pub(super) async fn follow(client: &Client, config: &Config, tell: &mut dyn FnMut(&str)) -> Result<()> {
    let mut events = watch::batch(client, config);
    let mut logs: stream::SelectAll<stream::BoxStream<'static, (String, Line)>> = stream::SelectAll::new();
    let mut follower = Follower::default();
    let mut tick = tokio::time::interval(attend::TICK);
    'followed: loop {
        tokio::select! {
            biased;
            Some((pod, line)) = logs.next() => tell_line(&pod, line, &mut follower, tell),
            Some(event) = events.next() => for next in follower.hear(event, SystemClock.now_s())? {
                match next {
                    Next::Tell(line) => tell(&line),
                    Next::Open(pod) => logs.push(lines_of(client, pod, true)),
                    Next::Over => break 'followed,
                }
            },
            _ = tick.tick() => {
                follower.quiet(SystemClock.now_s()).iter().for_each(|line| tell(line));
                attend::release_overdue(client, config, follower.reporter(), tell).await;
            }
        }
    }
    let rest = async {
        // Of pods that came and went between two events, or before the first.
        for pod in worker_pods(client, &config.deployment).await? {
            if follower.begins(&pod.name_any()) {
                logs.push(lines_of(client, pod.name_any(), false));
            }
        }
        while let Some((pod, line)) = logs.next().await {
            tell_line(&pod, line, &mut follower, tell);
        }
        Ok(())
    };
    // Beyond the limit nothing is missed but the last words of machines that are gone.
    tokio::time::timeout(LAST_LINES, rest).await.unwrap_or(Ok(()))
}

/// The pods of the Job, oldest first.
async fn worker_pods(client: &Client, deployment: &str) -> Result<Vec<Pod>> {
    let selector = format!("{DEPLOYMENT_LABEL}={deployment},{PART_LABEL}={WORKLOAD}");
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let listed = pods.list(&ListParams::default().labels(&selector)).await;
    let mut pods = listed.map_err(|error| failed("list the workers' pods".into(), &error))?.items;
    pods.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
    Ok(pods)
}

/// What a worker's pod writes, as it comes, from when it runs until its container ends.
pub(super) fn written_by(client: &Client, pod: &str) -> stream::BoxStream<'static, String> {
    let lines = lines(Api::default_namespaced(client.clone()), pod.to_owned(), true);
    let of_worker = |line| match line {
        Line::Worker(line) => Some(line),
        Line::Kubelet(_) | Line::Seen => None,
    };
    lines.filter_map(move |line| std::future::ready(of_worker(line))).boxed()
}

/// The log of a pod, with the pod's name.
fn lines_of(client: &Client, pod: String, follow: bool) -> stream::BoxStream<'static, (String, Line)> {
    let pods = Api::default_namespaced(client.clone());
    lines(pods, pod.clone(), follow).map(move |line| (pod.clone(), line)).boxed()
}

/// The worker's line of JSON as a person reads it: the level if it is a warning or worse, the message, and the other
/// fields. Returns the message alone, too. Any other line stays as it is.
fn readable(line: &str) -> (String, Option<String>) {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return (line.to_owned(), None) };
    let mut take = |name: &str| fields.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let (Some(message), level, _) = (take("message"), take("level"), take("timestamp")) else {
        return (line.to_owned(), None);
    };
    let mut text = level.filter(|level| level != "INFO").map(|level| format!("{level} ")).unwrap_or_default();
    text.push_str(&message);
    for (name, value) in &fields {
        text.push_str(&format!("  {name}={value}"));
    }
    (text, Some(message))
}

fn tell_line(pod: &str, line: Line, follower: &mut Follower, tell: &mut dyn FnMut(&str)) {
    match line {
        Line::Worker(line) => {
            let (text, message) = readable(&line);
            if let Some(message) = message {
                follower.said(pod, &message);
            }
            tell(&format!("{pod}  {text}"));
        }
        Line::Kubelet(said) => tell(&format!("{pod}  the kubelet can't give the log: {said}")),
        Line::Seen => {}
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_line_of_the_log_is_rendered_for_people() {
        let lines = [
            r#"{"timestamp":"2026-11-24T07:20:18Z","level":"INFO","message":"Processing dataset: a","token":2}"#,
            r#"{"timestamp":"2026-11-24T07:20:18Z","level":"ERROR","message":"no space left"}"#,
            r#"{"level":"INFO"}"#,
            "Killed",
        ];
        let read = lines.map(|line| readable(line).0);
        assert_eq!(read, ["Processing dataset: a  token=2", "ERROR no space left", lines[2], "Killed"]);
    }
}
