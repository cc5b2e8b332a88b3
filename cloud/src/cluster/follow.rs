//! Following a Job to its end: what each event means for whoever watches, and when the cluster is given up.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::manifest::{FILESERVER, REDIS_LEADER, WORKLOAD};
use crate::watch::{Event, PodState};

/// So long an API server may be away: that of a zonal cluster is for minutes while Google upgrades it, and the
/// Job runs on meanwhile.
const AWAY_MAX_S: u64 = 10 * 60;
/// Between errors so far apart the watch stood, though nothing happened that it could tell: more than one try
/// and the longest wait before the next one take.
const APART_S: u64 = 3 * 60;
/// How every pod begins.
const BEGINNING: &str = "ContainerCreating";

/// What is to be done about an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Tell(String),
    /// Follow the log of this pod.
    Open(String),
    /// The Job has ended, or is gone.
    Over,
}

/// What was heard of a Job until now.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Pods whose log is followed, or was.
    begun: BTreeSet<String>,
    /// What pods wait for; forgotten once one of them gets it.
    told: BTreeSet<String>,
    /// Pods that went and nothing makes anew.
    lost: BTreeSet<String>,
    /// The first and the last error, in seconds, since the cluster answered.
    away: Option<(u64, u64)>,
}

impl Follower {
    /// Takes in an event, or an error of the watch, which makes its connection anew by itself.
    ///
    /// # Errors
    /// When there was nothing but errors for too long.
    pub(super) fn hear(&mut self, event: Result<Event>, now_s: u64) -> Result<Next> {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.failed(error, now_s).map(|()| Next::Nothing),
        };
        self.away = None;
        Ok(match event {
            Event::Job(job) if job.finished.is_some() => Next::Over,
            Event::JobGone => Next::Over,
            Event::Pod(pod) if pod.part == WORKLOAD => self.worker(pod),
            Event::Pod(pod) => self.support(pod),
            Event::PodGone(name) => self.lost(name),
            _ => Next::Nothing,
        })
    }

    /// Whether the log of `pod` was not begun yet. It is from now on.
    pub(super) fn begins(&mut self, pod: &str) -> bool {
        self.begun.insert(pod.to_owned())
    }

    fn worker(&mut self, pod: PodState) -> Next {
        if pod.phase != "Pending" {
            if !self.begins(&pod.name) {
                return Next::Nothing;
            }
            self.told.clear();
            return Next::Open(pod.name);
        }
        let Some(why) = pod.waiting.filter(|why| why != BEGINNING) else { return Next::Nothing };
        let line = format!("{}  waits: {why}", pod.name);
        // Of a hundred that wait for the same, the first says it.
        if self.told.insert(why) { Next::Tell(line) } else { Next::Nothing }
    }

    /// Redis or the staging pod.
    fn support(&mut self, pod: PodState) -> Next {
        // On a machine that died in silence a pod reads as running, until it is told to end.
        if pod.deleting || matches!(pod.phase.as_str(), "Failed" | "Succeeded") {
            return self.lost(pod.name);
        }
        self.lost.remove(&pod.name);
        Next::Nothing
    }

    fn lost(&mut self, name: String) -> Next {
        let alone = [REDIS_LEADER, FILESERVER].contains(&name.as_str());
        let line = format!(
            "{name}  is gone, and nothing makes it anew by itself: run `cloud deploy`, or `cloud run`, again; it \
             goes on from what is there"
        );
        if alone && self.lost.insert(name) { Next::Tell(line) } else { Next::Nothing }
    }

    fn failed(&mut self, error: Error, now_s: u64) -> Result<()> {
        let goes_on = |(_, last_s): &(u64, u64)| now_s.saturating_sub(*last_s) < APART_S;
        let since_s = self.away.filter(goes_on).map_or(now_s, |(since_s, _)| since_s);
        self.away = Some((since_s, now_s));
        let away_s = now_s.saturating_sub(since_s);
        if away_s < AWAY_MAX_S {
            tracing::debug!(%error, "watch");
            return Ok(());
        }
        let why = format!("the cluster has not answered for {} minutes: {}", away_s / 60, error.why);
        let kind = match error.kind {
            Kind::Other { .. } => Kind::Transient,
            kind => kind,
        };
        Err(Error::new("follow the Job to its end", why, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::REDIS;

    fn state(name: &str, part: &str, phase: &str) -> PodState {
        PodState {
            name: name.into(),
            part: part.into(),
            node: None,
            phase: phase.into(),
            ready: false,
            deleting: false,
            disruption: None,
            exit_code: None,
            waiting: None,
        }
    }

    fn pod(number: u32, phase: &str, waiting: Option<&str>) -> Result<Event> {
        let waiting = waiting.map(str::to_owned);
        Ok(Event::Pod(PodState { waiting, ..state(&format!("workload-{number}"), WORKLOAD, phase) }))
    }

    fn refused() -> Result<Event> {
        Err(Error::other("watch the cluster", "connection refused"))
    }

    #[test]
    fn what_pods_wait_for_is_told_once_until_one_runs() {
        let mut follower = Follower::default();
        let mut hear = |event| follower.hear(event, 0).unwrap();
        let waits = |number: u32, why: &str| Next::Tell(format!("workload-{number}  waits: {why}"));
        let (full, image) = ("0/1 nodes are available: 1 Insufficient cpu.", "ImagePullBackOff: Back-off");
        assert_eq!(hear(pod(0, "Pending", Some(full))), waits(0, full));
        assert_eq!(hear(pod(1, "Pending", Some(full))), Next::Nothing);
        assert_eq!(hear(pod(0, "Pending", Some("ContainerCreating"))), Next::Nothing);
        assert_eq!(hear(pod(0, "Pending", Some(image))), waits(0, image));
        assert_eq!(hear(pod(0, "Running", None)), Next::Open("workload-0".into()));
        assert_eq!(hear(pod(0, "Failed", None)), Next::Nothing);
        assert_eq!(hear(pod(2, "Pending", Some(full))), waits(2, full));
        assert_eq!(hear(Ok(Event::JobGone)), Next::Over);
    }

    #[test]
    fn a_pod_that_nothing_makes_anew_is_told_once_when_it_goes() {
        let mut follower = Follower::default();
        let mut hear = |event| match follower.hear(Ok(event), 0) {
            Ok(Next::Tell(line)) => Some(line),
            other => {
                assert_eq!(other, Ok(Next::Nothing));
                None
            }
        };
        let redis = |deleting| Event::Pod(PodState { deleting, ..state(REDIS_LEADER, REDIS, "Running") });
        assert_eq!(hear(redis(false)), None);
        insta::assert_snapshot!(hear(redis(true)).unwrap());
        assert_eq!(hear(Event::PodGone(REDIS_LEADER.into())), None);
        assert_eq!(hear(redis(false)), None, "a second deploy made it anew");
        assert!(hear(Event::PodGone(REDIS_LEADER.into())).is_some());
        assert!(hear(Event::Pod(state(FILESERVER, FILESERVER, "Failed"))).is_some());
        assert_eq!(hear(Event::PodGone("workload-0".into())), None);
    }

    #[test]
    fn an_api_server_that_is_upgraded_is_waited_for() {
        let mut follower = Follower::default();
        // Far more errors than ten, over nine minutes; then it is back.
        for now_s in (0..540).step_by(10) {
            assert_eq!(follower.hear(refused(), now_s), Ok(Next::Nothing));
        }
        assert_eq!(follower.hear(pod(0, "Running", None), 550), Ok(Next::Open("workload-0".into())));
        assert_eq!(follower.hear(refused(), 700), Ok(Next::Nothing));
        // A watch that stands and has nothing to tell says nothing.
        for now_s in (1000..100_000).step_by(1000) {
            assert_eq!(follower.hear(refused(), now_s), Ok(Next::Nothing));
        }
    }

    #[test]
    fn one_that_stays_away_is_given_up() {
        let mut follower = Follower::default();
        let mut heard = (0..).step_by(90).map(|now_s| follower.hear(refused(), now_s));
        let error = heard.find_map(Result::err).unwrap();
        insta::assert_snapshot!(format!("failed to {error}\nhint: {}", error.hint().unwrap()));
    }
}
