//! How long each worker pod ran, for the bill: from the run's events and the Job.

use k8s_openapi::api::batch::v1::Job;

use super::cluster::{PodSize, PodUse, Ran, WORKER};

/// Stands between two files of events; no line of JSON is this.
pub(super) const FILE_END: &str = "==";

/// By the files of events, one an incarnation: from its first event to its last. What a machine that vanished did after
/// its last event nobody knows; it is billed, too.
pub(crate) fn usage<'a>(files: impl IntoIterator<Item = &'a [u8]>, ran: &Ran) -> Vec<PodUse> {
    let of_incarnation = |file: &[u8]| {
        let (events, _) = worker::events::parse(file);
        let (first, last) = (events.first()?, events.last()?);
        let seconds = last.at_ms.saturating_sub(first.at_ms).div_ceil(1000);
        Some(PodUse { pod: first.worker.clone(), seconds, size: ran.size, spot: ran.spot })
    };
    files.into_iter().filter_map(of_incarnation).collect()
}

/// The same of events in a bucket, by the objects' names in their order: a log is objects `NAME.jsonl`,
/// `NAME_000001.jsonl`…
#[cfg(feature = "bucket")]
pub(crate) fn of_objects(objects: impl IntoIterator<Item = (String, Vec<u8>)>, ran: &Ran) -> Vec<PodUse> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut last = String::new();
    for (name, bytes) in objects {
        let incarnation = incarnation(&name).to_owned();
        match files.last_mut().filter(|_| incarnation == last) {
            Some(file) => file.extend(bytes),
            None => files.push(bytes),
        }
        last = incarnation;
    }
    usage(files.iter().map(Vec::as_slice), ran)
}

/// Whose events an object has.
#[cfg(feature = "bucket")]
fn incarnation(name: &str) -> &str {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_number = |text: &str| text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    stem.rsplit_once('_').filter(|(_, number)| is_number(number)).map_or(stem, |(first, _)| first)
}

/// What the Job's workers request.
pub(super) fn worker_size(job: &Job) -> PodSize {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let requests = pod.and_then(|pod| pod.containers.first()?.resources.as_ref()?.requests.as_ref());
    let number = |name: &str, unit: &str| requests?.get(name)?.0.strip_suffix(unit)?.parse().ok();
    PodSize {
        milli_cpu: number("cpu", "m").unwrap_or(WORKER.milli_cpu),
        mib: number("memory", "Mi").unwrap_or(WORKER.mib),
    }
}

/// Whether the Job's workers are tied to machines that may vanish: by a label that is those machines' taint, too.
pub(super) fn is_placed(job: &Job) -> bool {
    let Some(pod) = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else { return false };
    let labels = pod.node_selector.iter().flatten().map(|(label, _)| label);
    let tolerated = |label: &String| {
        pod.tolerations.iter().flatten().any(|toleration| toleration.key.as_ref() == Some(label))
    };
    labels.into_iter().any(tolerated)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use worker::contract::FORMAT_VERSION;
    use worker::events::{Event, What};

    use super::*;
    use crate::k8s::cluster::Placement;
    use crate::k8s::objects::Config;
    use crate::k8s::objects::job::job;
    use crate::k8s::pod::PodChoice;

    #[cfg(feature = "bucket")]
    #[test]
    fn the_objects_of_a_log_are_one_incarnations() {
        let names = ["e/w-1.2-0f.jsonl", "e/w-1.2-0f_000001.jsonl", "e/w_2.jsonl", "e/w"];
        assert_eq!(names.map(incarnation), ["e/w-1.2-0f", "e/w-1.2-0f", "e/w_2", "e/w"]);
    }

    fn line(worker: &str, seq: u64, at_ms: u64) -> String {
        let event = Event { v: FORMAT_VERSION, at_ms, worker: worker.into(), seq, what: What::Stopping };
        serde_json::to_string(&event).unwrap()
    }

    #[test]
    fn pod_seconds_are_from_the_first_event_to_the_last_whole_one() {
        let printed = format!(
            "{}\n{}\n{{\"torn\n==\n{}\n\n{}\n\n==\n",
            line("workload-0", 0, 1_000),
            line("workload-0", 7, 91_500),
            line("workload-1", 0, 5_000),
            line("workload-1", 0, 5_000),
        );
        let ran = Ran { run: String::new(), size: WORKER, spot: true };
        let used = usage(printed.split("\n==\n").map(str::as_bytes), &ran);
        let seconds: Vec<_> = used.iter().map(|used| (used.pod.as_str(), used.seconds)).collect();
        assert_eq!(seconds, [("workload-0", 91), ("workload-1", 0)]);
        assert_eq!(usage([&b""[..]], &ran), []);
    }

    #[test]
    fn what_workers_request_is_read_from_the_job() {
        let config = Config { worker: PodSize { milli_cpu: 250, mib: 300 }, ..Config::tutorial() };
        let job_of_two = job(&config);
        assert_eq!((worker_size(&job_of_two), is_placed(&job_of_two)), (config.worker, false));
        let zone = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let pod = PodChoice { node_selector: zone, ..PodChoice::default() };
        assert!(!is_placed(&job(&Config { pod: pod.clone(), ..config.clone() })));
        let placed = Config { placement: Placement::Labelled("spot"), pod, ..config };
        assert!(is_placed(&job(&placed)));
    }
}
