//! Following a Job to its end: what each event means for the person who follows it, and when the cluster is
//! given up.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Kind, Result};
use crate::k8s::attend::{Reporter, refused};
use crate::k8s::objects::WORKLOAD;
use crate::k8s::obstacle::{Obstacle, Outlook};
use crate::k8s::watch::{Event, JobState, PodState};

/// How long an API server may be away: one that is upgraded is for minutes, and the Job
/// runs on without it.
const AWAY_MAX_S: u64 = 10 * 60;
/// Errors farther apart than this are separate outages: it is longer than one try and the longest backoff.
const APART_S: u64 = 3 * 60;
/// What the worker says when it takes a dataset.
const PROCESSING: &str = "Processing dataset: ";

/// What is to be done about an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Tell(String),
    /// Follow the log of this pod.
    Open(String),
    /// The Job's end is decided, or it is gone.
    Over,
}

/// What was heard of a Job until now.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Pods whose log is followed, or was.
    begun: BTreeSet<String>,
    reporter: Reporter,
    /// Pods whose end was shown.
    ended: BTreeSet<String>,
    /// The dataset that each pod's log named last.
    datasets: BTreeMap<String, String>,
    /// Pods that went and that nothing replaces.
    lost: BTreeSet<String>,
    /// Whether the Job was kept from running when it was heard of last.
    suspended: Option<bool>,
    /// The first and the last error, in seconds, since the cluster answered.
    away: Option<(u64, u64)>,
}

impl Follower {
    /// Takes in an event, or an error of the watch, which connects again by itself.
    ///
    /// # Errors
    /// When there was nothing but errors for too long, or where no worker can ever start.
    pub(super) fn hear(&mut self, event: Result<Event>, now_s: u64) -> Result<Vec<Next>> {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.failed(error, now_s).map(|()| Vec::new()),
        };
        self.away = None;
        let obstacle = self.reporter.hear(&event, now_s);
        let mut next = match event {
            Event::Job(job) if job.outcome.is_some() => vec![Next::Over],
            Event::Job(job) => self.job(&job),
            Event::JobGone => vec![Next::Over],
            Event::Pod(pod) if pod.part == WORKLOAD => self.worker(pod),
            Event::Pod(pod) => self.support(pod),
            Event::PodGone(name) => self.gone(name),
            _ => Vec::new(),
        };
        if let Some((name, obstacle)) = obstacle {
            next.extend(self.reporter.line(&name, &obstacle).map(Next::Tell));
            self.end_if_hopeless(&name, &obstacle)?;
        }
        Ok(next)
    }

    /// Whether the log of `pod` was not begun yet. It is from now on.
    pub(super) fn begins(&mut self, pod: &str) -> bool {
        self.begun.insert(pod.to_owned())
    }

    /// Takes in the message of a line of a worker's log.
    pub(super) fn said(&mut self, pod: &str, message: &str) {
        if let Some(dataset) = message.strip_prefix(PROCESSING) {
            self.datasets.insert(pod.to_owned(), dataset.to_owned());
        }
    }

    /// Before the first worker runs: pods that are starting for long with nothing reported of them.
    pub(super) fn quiet(&mut self, now_s: u64) -> Vec<String> {
        if self.begun.is_empty() { self.reporter.quiet(now_s, true) } else { Vec::new() }
    }

    /// What was heard of the deployment's pods.
    pub(super) fn reporter(&mut self) -> &mut Reporter {
        &mut self.reporter
    }

    fn worker(&mut self, pod: PodState) -> Vec<Next> {
        if pod.phase == "Pending" {
            return Vec::new();
        }
        let mut next = Vec::new();
        if self.begins(&pod.name) {
            self.reporter.forget();
            next.push(Next::Open(pod.name.clone()));
        }
        if let Some(end) = pod.end.filter(|_| self.ended.insert(pod.name.clone())) {
            let dataset = self.datasets.get(&pod.name);
            let held = dataset.map(|dataset| format!("; the last dataset that it took was {dataset}"));
            next.push(Next::Tell(format!("{}  {end}{}", pod.name, held.unwrap_or_default())));
        }
        next
    }

    /// What Kueue makes of the Job. That it stops one which ran is a preemption: its pods get SIGTERM and their grace, and
    /// the run goes on once it is admitted again.
    fn job(&mut self, job: &JobState) -> Vec<Next> {
        let before = self.suspended.replace(job.suspended);
        let Some(queue) = job.queue.as_deref().filter(|_| before != Some(job.suspended)) else {
            return Vec::new();
        };
        let line = match (before, job.suspended) {
            (None, false) => return Vec::new(),
            (_, false) => format!("Kueue's queue {queue} has admitted the Job"),
            (None, true) => format!("waits until Kueue's queue {queue} admits the Job"),
            (Some(_), true) => format!(
                "preempted: Kueue's queue {queue} has stopped the Job; the run goes on once it is admitted again"
            ),
        };
        vec![Next::Tell(format!("{WORKLOAD}  {line}"))]
    }

    /// Where one worker has run, others may wait: the run goes on.
    fn end_if_hopeless(&self, name: &str, obstacle: &Obstacle) -> Result<()> {
        match &obstacle.outlook {
            Outlook::Hopeless(hint) if self.begun.is_empty() => Err(refused(name, obstacle, hint)),
            _ => Ok(()),
        }
    }

    /// Redis or the staging pod.
    fn support(&mut self, pod: PodState) -> Vec<Next> {
        // On a machine that died without notice a pod reads as running, until its deletion begins.
        if pod.deleting || matches!(pod.phase.as_str(), "Failed" | "Succeeded") {
            return self.is_lost(pod.name);
        }
        self.lost.remove(&pod.name);
        Vec::new()
    }

    fn gone(&mut self, name: String) -> Vec<Next> {
        // Of the Job's pods it makes others.
        let alone = self.reporter.is_support(&name);
        if alone { self.is_lost(name) } else { Vec::new() }
    }

    fn is_lost(&mut self, name: String) -> Vec<Next> {
        let line = format!(
            "{name}  is gone, and nothing replaces it by itself: run the same command again; it goes on from what \
             is there"
        );
        if self.lost.insert(name) { vec![Next::Tell(line)] } else { Vec::new() }
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
        let kind = if error.kind == Kind::Other { Kind::Transient } else { error.kind };
        Err(Error { doing: "follow the Job to its end".to_owned(), why, kind, ..error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::objects::{FILESERVER, REDIS, REDIS_LEADER};
    use crate::k8s::obstacle::Report;

    fn state(name: &str, part: &str, phase: &str) -> PodState {
        PodState {
            name: name.into(),
            uid: format!("uid of {name}"),
            part: part.into(),
            node: None,
            phase: phase.into(),
            ready: false,
            deleting: false,
            grace_s: None,
            disruption: None,
            exit_code: None,
            obstacle: None,
            end: None,
        }
    }

    fn pod(number: u32, phase: &str, waits_for: Option<&str>) -> Result<Event> {
        let obstacle = waits_for.map(|words| Obstacle { words: words.into(), outlook: Outlook::MayPass });
        Ok(Event::Pod(PodState { obstacle, ..state(&format!("workload-{number}"), WORKLOAD, phase) }))
    }

    fn job(outcome: Option<bool>) -> Result<Event> {
        let outcome = outcome.map(|good| (good, "why".to_owned()));
        let uid = "uid of the Job".to_owned();
        Ok(Event::Job(JobState { outcome, ..state_of_job(uid) }))
    }

    fn state_of_job(uid: String) -> JobState {
        JobState {
            uid,
            ready: 0,
            succeeded: 0,
            failed: 0,
            finished: None,
            queue: None,
            suspended: false,
            outcome: None,
        }
    }

    fn no_pod(message: &str) -> Result<Event> {
        Ok(Event::Report(Report {
            id: message.into(),
            kind: "Job".into(),
            name: "workload".into(),
            uid: "uid of the Job".into(),
            reason: "FailedCreate".into(),
            message: message.into(),
            count: 1,
            fresh: true,
        }))
    }

    fn refused() -> Result<Event> {
        Err(Error::other("watch the cluster", "connection refused"))
    }

    #[test]
    fn what_pods_wait_for_is_reported_once_until_one_runs() {
        let mut follower = Follower::default();
        let mut hear = |event| follower.hear(event, 0).unwrap();
        let waits = |number: u32, why: &str| vec![Next::Tell(format!("workload-{number}  waits: {why}"))];
        let (full, image) = ("0/1 nodes are available: 1 Insufficient cpu.", "ImagePullBackOff: Back-off");
        assert_eq!(hear(pod(0, "Pending", Some(full))), waits(0, full));
        assert_eq!(hear(pod(1, "Pending", Some(full))), []);
        assert_eq!(hear(pod(0, "Pending", None)), []);
        assert_eq!(hear(pod(0, "Pending", Some(image))), waits(0, image));
        assert_eq!(hear(pod(0, "Running", None)), [Next::Open("workload-0".into())]);
        assert_eq!(hear(pod(0, "Failed", None)), []);
        assert_eq!(hear(pod(2, "Pending", Some(full))), waits(2, full));
        assert_eq!(hear(Ok(Event::JobGone)), [Next::Over]);
    }

    #[test]
    fn the_end_is_when_it_is_decided() {
        let mut follower = Follower::default();
        assert_eq!(follower.hear(job(None), 0), Ok(vec![]));
        assert_eq!(follower.hear(job(Some(true)), 0), Ok(vec![Next::Over]));
        assert_eq!(follower.hear(job(Some(false)), 0), Ok(vec![Next::Over]));
    }

    #[test]
    fn what_kueue_makes_of_a_job_is_reported_as_it_changes() {
        let mut follower = Follower::default();
        let mut hear = |suspended, queue: Option<&str>| {
            let queue = queue.map(str::to_owned);
            let job = JobState { suspended, queue, ..state_of_job("uid".into()) };
            follower.hear(Ok(Event::Job(job)), 0).unwrap()
        };
        let heard = [true, true, false, false, true, false].map(|suspended| hear(suspended, Some("team-a")));
        let lines = heard.into_iter().flatten().map(|next| match next {
            Next::Tell(line) => line,
            other => format!("{other:?}"),
        });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
        workload  waits until Kueue's queue team-a admits the Job
        workload  Kueue's queue team-a has admitted the Job
        workload  preempted: Kueue's queue team-a has stopped the Job; the run goes on once it is admitted again
        workload  Kueue's queue team-a has admitted the Job
        ");
        let mut follower = Follower::default();
        let job = JobState { queue: Some("team-a".into()), ..state_of_job("uid".into()) };
        assert_eq!(follower.hear(Ok(Event::Job(job)), 0), Ok(vec![]), "it runs, as any other");
    }

    const NEVER: &str = "Error creating: pods \"workload-0-a\" is forbidden: maximum cpu usage per Container is 100m, but \
                         limit is 2";

    #[test]
    fn what_no_waiting_helps_is_the_end_unless_a_worker_ran() {
        let mut follower = Follower::default();
        assert_eq!(follower.hear(no_pod(NEVER), 0), Ok(vec![]), "of another Job, for all that is known");
        follower.hear(job(None), 0).unwrap();
        let error = follower.hear(no_pod(NEVER), 0).unwrap_err();
        assert!(error.why.contains("maximum cpu usage"), "{error}");
        assert!(error.hint.as_deref().unwrap().contains("LimitRange"), "{error}");
        follower.hear(pod(0, "Running", None), 0).unwrap();
        let heard = follower.hear(no_pod(&NEVER.replace("0-a", "1-b")), 0).unwrap();
        assert!(matches!(&heard[..], [Next::Tell(line)] if line.contains("maximum cpu usage")), "{heard:?}");
        assert_eq!(
            follower.hear(no_pod(&NEVER.replace("0-a", "1-c")), 0),
            Ok(vec![]),
            "the same of another pod"
        );
    }

    #[test]
    fn a_killed_worker_is_reported_with_what_it_held() {
        let mut follower = Follower::default();
        follower.hear(pod(0, "Running", None), 0).unwrap();
        follower.said("workload-0", "Processing dataset: datasets/training/a.pkl");
        follower.said("workload-0", "the queue is back");
        let killed = PodState { end: Some("OOMKilled".into()), ..state("workload-0", WORKLOAD, "Failed") };
        let line =
            "workload-0  OOMKilled; the last dataset that it took was datasets/training/a.pkl".to_owned();
        assert_eq!(follower.hear(Ok(Event::Pod(killed.clone())), 0), Ok(vec![Next::Tell(line)]));
        assert_eq!(follower.hear(Ok(Event::Pod(killed)), 0), Ok(vec![]));
        let unheard = PodState { end: Some("Evicted".into()), ..state("workload-1", WORKLOAD, "Failed") };
        let next = vec![Next::Open("workload-1".into()), Next::Tell("workload-1  Evicted".into())];
        assert_eq!(follower.hear(Ok(Event::Pod(unheard)), 0), Ok(next));
    }

    #[test]
    fn a_pod_that_nothing_recreates_is_reported_once_when_it_goes() {
        let mut follower = Follower::default();
        let mut hear = |event| match follower.hear(Ok(event), 0).unwrap().pop() {
            Some(Next::Tell(line)) => Some(line),
            other => {
                assert_eq!(other, None);
                None
            }
        };
        let redis = |deleting| Event::Pod(PodState { deleting, ..state(REDIS_LEADER, REDIS, "Running") });
        assert_eq!(hear(redis(false)), None);
        insta::assert_snapshot!(hear(redis(true)).unwrap());
        assert_eq!(hear(Event::PodGone(REDIS_LEADER.into())), None);
        assert_eq!(hear(redis(false)), None, "a second deploy made it again");
        assert!(hear(Event::PodGone(REDIS_LEADER.into())).is_some());
        assert!(hear(Event::Pod(state(FILESERVER, FILESERVER, "Failed"))).is_some());
        assert_eq!(hear(Event::PodGone("workload-0".into())), None);
    }

    #[test]
    fn an_api_server_that_is_upgraded_is_waited_for() {
        let mut follower = Follower::default();
        // Far more errors than ten, over nine minutes; then it is back.
        for now_s in (0..540).step_by(10) {
            assert_eq!(follower.hear(refused(), now_s), Ok(vec![]));
        }
        assert_eq!(follower.hear(pod(0, "Running", None), 550), Ok(vec![Next::Open("workload-0".into())]));
        assert_eq!(follower.hear(refused(), 700), Ok(vec![]));
        // A watch that stands and has nothing to tell says nothing.
        for now_s in (1000..100_000).step_by(1000) {
            assert_eq!(follower.hear(refused(), now_s), Ok(vec![]));
        }
    }

    #[test]
    fn one_that_stays_away_is_given_up() {
        let mut follower = Follower::default();
        let mut heard = (0..).step_by(90).map(|now_s| follower.hear(refused(), now_s));
        let error = heard.find_map(Result::err).unwrap();
        assert_eq!(error.kind, Kind::Transient);
        insta::assert_snapshot!(format!("failed to {error}"));
    }
}
