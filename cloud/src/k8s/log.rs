//! A pod's log, line by line, across streams that break: a control plane that restarts, a kubelet that has no
//! inotify left.

use std::time::Duration;

use futures::{AsyncBufReadExt as _, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{LogParams, ResourceExt as _};

use crate::k8s::objects::WORKER_CONTAINER;

/// Waits between two streams of one log, in seconds.
const WAITS_S: [u64; 5] = [1, 2, 4, 8, 16];

/// What a line of the stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The worker's.
    Worker(String),
    /// The kubelet's, about the log.
    Kubelet(String),
    /// It came by an earlier stream.
    Seen,
}

/// How far a log was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    last: Option<Timestamp>,
}

impl Cursor {
    /// Takes in a line as it comes, with its time before it. Only what the kubelet itself says has none.
    pub(super) fn take(&mut self, raw: &str) -> Line {
        let stamped = raw.split_once(' ').unwrap_or((raw, ""));
        let Ok(at) = stamped.0.parse::<Timestamp>() else { return Line::Kubelet(raw.to_owned()) };
        if self.last.is_some_and(|last| at <= last) {
            return Line::Seen;
        }
        self.last = Some(at);
        Line::Worker(stamped.1.to_owned())
    }

    fn params(&self, follow: bool) -> LogParams {
        LogParams {
            follow,
            container: Some(WORKER_CONTAINER.to_owned()),
            timestamps: true,
            // Rounded down, where kube would round to the nearest second and so leave out lines.
            since_time: self.last.and_then(|last| Timestamp::from_second(last.as_second()).ok()),
            ..LogParams::default()
        }
    }
}

/// Whether a log whose stream has ended may have more to come.
pub(super) fn goes_on(pod: Option<&Pod>) -> bool {
    let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
    pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none())
        && matches!(phase, Some("Pending" | "Running"))
}

/// One log under way.
struct Reading {
    pods: Api<Pod>,
    pod: String,
    uid: Option<String>,
    follow: bool,
    cursor: Cursor,
    failures: usize,
    /// The kubelet's last line, so that it is not shown again.
    kubelet: String,
    lines: Option<stream::BoxStream<'static, std::io::Result<String>>>,
    over: bool,
}

/// The worker's lines of a pod, and what the kubelet says where it can't give them. With `follow` also those to
/// come, until the container ends. Nothing is sent before the stream is polled.
pub(super) fn lines(pods: Api<Pod>, pod: String, follow: bool) -> stream::BoxStream<'static, Line> {
    let reading = Reading {
        pods,
        pod,
        uid: None,
        follow,
        cursor: Cursor::default(),
        failures: 0,
        kubelet: String::new(),
        lines: None,
        over: false,
    };
    stream::unfold(reading, |mut reading| async move { Some((reading.next().await?, reading)) }).boxed()
}

impl Reading {
    async fn next(&mut self) -> Option<Line> {
        while !self.over {
            let Some(lines) = &mut self.lines else {
                self.open().await;
                continue;
            };
            match lines.next().await {
                Some(Ok(raw)) => match self.cursor.take(&raw) {
                    Line::Seen => {}
                    Line::Kubelet(said) if said == self.kubelet || said.is_empty() => {}
                    Line::Kubelet(said) => {
                        self.kubelet.clone_from(&said);
                        return Some(Line::Kubelet(said));
                    }
                    line => {
                        self.failures = 0;
                        return Some(line);
                    }
                },
                ended => {
                    if let Some(Err(error)) = ended {
                        tracing::debug!(%error, pod = self.pod, "a log broke off");
                    }
                    self.lines = None;
                    self.rest().await;
                }
            }
        }
        None
    }

    async fn open(&mut self) {
        match self.pods.log_stream(&self.pod, &self.cursor.params(self.follow)).await {
            Ok(log) => self.lines = Some(log.lines().boxed()),
            Err(error) => {
                tracing::debug!(%error, pod = self.pod, "open a log");
                self.rest().await;
            }
        }
    }

    /// After a stream: once more without following where the container has ended, for the last lines may be
    /// missing; again after a while where it goes on.
    async fn rest(&mut self) {
        if !self.follow {
            self.over = true;
            return;
        }
        let wait_s = WAITS_S[self.failures.min(WAITS_S.len() - 1)];
        self.failures += 1;
        tokio::time::sleep(Duration::from_secs(wait_s)).await;
        let found = match self.pods.get_opt(&self.pod).await {
            Ok(found) => found,
            Err(error) => return tracing::debug!(%error, pod = self.pod, "look at a pod"),
        };
        let uid = found.as_ref().and_then(|pod| pod.uid());
        let same = self.uid.is_none() || self.uid == uid;
        self.uid = self.uid.take().or(uid);
        if !same || found.is_none() {
            self.over = true;
        } else if !goes_on(found.as_ref()) {
            self.follow = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_that_is_opened_again_goes_on_where_it_broke() {
        let mut cursor = Cursor::default();
        let (first, second) = ("2026-11-29T23:00:01.700000001Z", "2026-11-29T23:00:01.700000002Z");
        let worker = |text: &str| Line::Worker(text.to_owned());
        assert_eq!(cursor.take(&format!("{first} a line of the worker's")), worker("a line of the worker's"));
        assert_eq!(cursor.take(&format!("{first} a line of the worker's")), Line::Seen);
        let says = "failed to create fsnotify watcher: too many open files";
        assert_eq!(cursor.take(says), Line::Kubelet(says.to_owned()));
        assert_eq!(cursor.take(&format!("{second} ")), worker(""));
        assert_eq!(cursor.take(second), Line::Seen);
        let whole: Timestamp = "2026-11-29T23:00:01Z".parse().unwrap();
        assert_eq!(cursor.params(true).since_time, Some(whole));
        assert_eq!(cursor.take(""), Line::Kubelet(String::new()));
    }

    #[test]
    fn a_log_goes_on_while_its_pod_does() {
        let pod = |phase: &str, deleted: Option<&str>| -> Pod {
            serde_json::from_value(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "p", "deletionTimestamp": deleted},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        let table = [
            ("Running", None, true),
            ("Pending", None, true),
            ("Running", Some("2026-11-29T23:00:00Z"), false),
            ("Succeeded", None, false),
            ("Failed", None, false),
        ];
        for (phase, deleted, expected) in table {
            assert_eq!(goes_on(Some(&pod(phase, deleted))), expected, "{phase} {deleted:?}");
        }
        assert!(!goes_on(None));
    }
}
