//! A run as metrics in the text format of Prometheus, derived from the volume: workers vanish sooner than they are
//! scraped.

use crate::cli::watched::Moment;
use crate::reader::overview::{DatasetState, WorkerState};
use crate::reader::state::State;

/// What is exported beside the run itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra {
    /// Free bytes of the volume, where that is known.
    pub free_bytes: Option<u64>,
    /// What one worker costs an hour, where that was given.
    pub price: Option<f64>,
}

/// Metrics in the order in which they are asked for, each family with its help and type.
struct Text {
    text: String,
    run: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample with the run's label and further ones.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut all = format!("run=\"{}\"", escaped(&self.run));
        for (label, text) in labels {
            all += &format!(",{label}=\"{}\"", escaped(text));
        }
        self.text += &format!("{name}{{{all}}} {value}\n");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

const STATES: [&str; 6] = ["not-begun", "open", "complete", "void", "left", "damaged"];

fn state_name(state: &State) -> &'static str {
    match state {
        State::NotBegun => "not-begun",
        State::Open => "open",
        State::Complete(_) => "complete",
        State::Void(_) => "void",
        State::Left(_) => "left",
        State::Damaged(_) => "damaged",
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// All metrics of a run.
pub(crate) fn metrics(moment: &Moment, extra: Extra) -> String {
    let mut out = Text { text: String::new(), run: moment.run.clone() };
    out.family("batch_build_info", "gauge", "The version of the program that exports this.");
    out.sample("batch_build_info", &[("version", crate::VERSION)], 1.0);
    run(&mut out, moment);
    items(&mut out, moment);
    events(&mut out, moment);
    if let Some(bytes) = extra.free_bytes {
        out.one("batch_volume_free_bytes", "gauge", "Free space of the volume.", bytes as f64);
    }
    if let Some(price) = extra.price {
        let hours = seconds(moment.alive_ms) / 3_600.0;
        out.one("batch_price_dollars_per_hour", "gauge", "Price of one worker, as given.", price);
        out.one("batch_cost_dollars", "gauge", "Time of all workers at that price.", price * hours);
    }
    out.text
}

fn run(out: &mut Text, moment: &Moment) {
    out.family("batch_run_state", "gauge", "1 for the state that the run is in.");
    for state in STATES {
        let is_it = state == state_name(&moment.state);
        out.sample("batch_run_state", &[("state", state)], f64::from(u8::from(is_it)));
    }
    let progress = moment.progress;
    let ratio = if progress.all == 0 { 0.0 } else { progress.done as f64 / progress.all as f64 };
    out.one("batch_progress_ratio", "gauge", "Committed stages of all datasets taken in so far.", ratio);
    if let Some(eta_s) = progress.eta_s {
        out.one(
            "batch_eta_seconds",
            "gauge",
            "Time until these are done, at the rate of the last minutes.",
            eta_s,
        );
    }
    if let Some((first, last)) = moment.span_ms {
        out.one("batch_started_timestamp_seconds", "gauge", "When the first worker started.", seconds(first));
        out.one(
            "batch_last_event_timestamp_seconds",
            "gauge",
            "When a worker noted something last.",
            seconds(last),
        );
    }
    if let Some(at_ms) = moment.last_commit_ms {
        out.one(
            "batch_last_commit_timestamp_seconds",
            "gauge",
            "When something was committed last.",
            seconds(at_ms),
        );
    }
    let violated = f64::from(u8::from(moment.files.violation.is_some()));
    out.one("batch_violations", "gauge", "1 where two results of one item differ.", violated);
    let refused = moment.files.manifest.as_ref().map_or(0, |manifest| manifest.refused.len());
    out.one("batch_refused_paths", "gauge", "Pushed paths that are no part of the run.", refused as f64);
}

fn items(out: &mut Text, moment: &Moment) {
    out.family("batch_datasets", "gauge", "The run's datasets by state.");
    for state in ["done", "rejected", "under-way"] {
        let is_it = |row: &&DatasetState| match row {
            DatasetState::Done => state == "done",
            DatasetState::Rejected => state == "rejected",
            DatasetState::At(_) => state == "under-way",
        };
        let count = moment.datasets.iter().map(|row| &row.state).filter(is_it).count();
        out.sample("batch_datasets", &[("state", state)], count as f64);
    }
    out.family("batch_committed_items", "gauge", "Committed results of each stage.");
    for (stage, count) in &moment.committed {
        out.sample("batch_committed_items", &[("stage", stage)], *count as f64);
    }
    out.family("batch_workers", "gauge", "Workers by what is known of them.");
    const KNOWN: [(WorkerState, &str); 5] = [
        (WorkerState::Working, "working"),
        (WorkerState::IdleOrGone, "idle-or-gone"),
        (WorkerState::Lost, "lost"),
        (WorkerState::Preempted, "preempted"),
        (WorkerState::Ended, "ended"),
    ];
    for (state, name) in KNOWN {
        let count = moment.workers.iter().filter(|row| row.state == state).count();
        out.sample("batch_workers", &[("state", name)], count as f64);
    }
}

fn events(out: &mut Text, moment: &Moment) {
    let sums = &moment.sums;
    let first = sums.committed.values().sum::<u64>();
    out.family("batch_commits_total", "counter", "Commits that were first, and duplicates of another's.");
    out.sample("batch_commits_total", &[("outcome", "first")], first as f64);
    out.sample("batch_commits_total", &[("outcome", "duplicate")], sums.duplicates as f64);
    out.family(
        "batch_preemptions_total",
        "counter",
        "Workers that got notice to stop, and workers that vanished with what they held.",
    );
    out.sample("batch_preemptions_total", &[("kind", "notice")], sums.notices as f64);
    out.sample("batch_preemptions_total", &[("kind", "vanished")], sums.vanished as f64);
    for (name, help, value) in [
        ("batch_claims_total", "Items handed to workers.", sums.claims),
        ("batch_lease_expiries_total", "Items redelivered after their lease expired.", sums.redelivered),
        ("batch_leases_lost_total", "Leases that their owners found lost.", sums.leases_lost),
        ("batch_resumed_total", "Claims that went on from saved progress.", sums.resumed),
        ("batch_failures_total", "Items released since they failed.", sums.failures),
        (
            "batch_not_ready_total",
            "Items released since input, volume or queue was not ready.",
            sums.not_ready,
        ),
        ("batch_repaired_total", "Torn files that were replaced.", sums.repaired),
        ("batch_audited_total", "Items done twice and compared.", sums.audited),
    ] {
        out.one(name, "counter", help, value as f64);
    }
    out.one("batch_work_seconds_total", "counter", "Time at work.", seconds(sums.busy_ms));
    out.one("batch_lost_work_seconds_total", "counter", "Of it, what took no effect.", seconds(sums.lost_ms));
    out.family("batch_item_duration_seconds", "summary", "Time from claim to acknowledgement, by step.");
    for (step, (count, ms)) in &sums.steps {
        out.sample("batch_item_duration_seconds_sum", &[("step", step)], seconds(*ms));
        out.sample("batch_item_duration_seconds_count", &[("step", step)], *count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = Text { text: String::new(), run: "a\"b\\c".to_owned() };
        out.one("batch_x", "gauge", "Help.", 1.5);
        assert_eq!(
            out.text,
            "# HELP batch_x Help.\n# TYPE batch_x gauge\nbatch_x{run=\"a\\\"b\\\\c\"} 1.5\n"
        );
    }
}
