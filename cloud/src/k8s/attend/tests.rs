use super::*;
use crate::k8s::objects::FILESERVER;

fn pod(name: &str, phase: &str, deleting: bool) -> PodState {
    PodState {
        name: name.into(),
        uid: "new".into(),
        part: FILESERVER.into(),
        node: Some("n1".into()),
        phase: phase.into(),
        ready: false,
        deleting,
        grace_s: Some(15),
        disruption: None,
        exit_code: None,
        obstacle: None,
        end: None,
    }
}

fn report(name: &str, uid: &str) -> Event {
    Event::Report(Report {
        id: format!("{name}.{uid}"),
        kind: "Pod".into(),
        name: name.into(),
        uid: uid.into(),
        reason: "FailedMount".into(),
        message: "mount.nfs: access denied by server".into(),
        count: 9,
        fresh: false,
    })
}

#[test]
fn a_report_counts_for_the_very_pod_that_is_pending() {
    let mut reporter = Reporter::new([("fileserver".to_owned(), "new".to_owned())]);
    assert_eq!(reporter.hear(&report("fileserver", "old"), 0), None);
    assert_eq!(reporter.hear(&report("fileserver", "new"), 0), None, "nothing is known of the pod yet");
    let (name, obstacle) = reporter.hear(&Event::Pod(pod("fileserver", "Pending", false)), 0).unwrap();
    assert_eq!(
        reporter.line(&name, &obstacle).unwrap(),
        "fileserver  waits: FailedMount: mount.nfs: access denied by server"
    );
    assert_eq!(reporter.line(&name, &obstacle), None, "once");
    let error = reporter.end(&name, &obstacle).unwrap_err();
    assert!(error.to_string().contains("start fileserver: FailedMount"), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("showmount"), "{error}");
    let late = reporter.explain(Error::other("wait for pod fileserver", "not within 600 s"));
    assert_eq!(late.why, "not within 600 s; fileserver: FailedMount: mount.nfs: access denied by server");

    assert_eq!(reporter.hear(&report("fileserver", "old"), 0), None, "of an earlier pod of that name");
    assert_eq!(reporter.hear(&Event::Pod(pod("fileserver", "Running", false)), 0), None);
    assert_eq!(reporter.hear(&report("fileserver", "new"), 0), None, "it has started since");
}

#[test]
fn only_pods_that_are_waited_for_end_the_wait() {
    for needed in [("redis-leader", "new"), ("fileserver", "the next of that name")] {
        let mut reporter = Reporter::new([(needed.0.to_owned(), needed.1.to_owned())]);
        reporter.hear(&Event::Pod(pod("fileserver", "Pending", false)), 0);
        let (name, obstacle) = reporter.hear(&report("fileserver", "new"), 0).unwrap();
        assert_eq!(reporter.end(&name, &obstacle), Ok(()), "{needed:?}");
    }
}

#[test]
fn a_pod_that_outlives_its_grace_hangs() {
    let mut reporter = Reporter::default();
    let names = |leaving: Vec<Leaving>| leaving.into_iter().map(|leaving| leaving.pod).collect::<Vec<_>>();
    for name in ["a", "b", "c"] {
        reporter.hear(&Event::Pod(pod(name, "Running", true)), 100);
    }
    // Heard of again, which puts off nothing.
    reporter.hear(&Event::Pod(pod("a", "Running", true)), 110);
    reporter.hear(&Event::Pod(pod("b", "Failed", true)), 110);
    reporter.hear(&Event::PodGone("c".into()), 110);
    assert_eq!(names(reporter.overdue(124)), [""; 0]);
    assert_eq!(names(reporter.overdue(125)), ["a"]);
    let line = |text: &str| text.to_owned();
    assert_eq!(reporter.note("a", line("its node is Ready"), false), Some(line("its node is Ready")));
    assert_eq!(reporter.note("a", line("its node is Ready"), false), None, "reported once");
    assert_eq!(names(reporter.overdue(130)), ["a"], "and looked at again");
    assert_eq!(reporter.note("a", line("its node is NotReady"), true), Some(line("its node is NotReady")));
    assert_eq!(names(reporter.overdue(500)), [""; 0]);
    assert_eq!(reporter.note("gone", line(""), true), None);
}

#[test]
fn a_pod_is_deleted_by_force_where_its_node_is_no_more() {
    let reported = [NodeIs::NotReady, NodeIs::Gone, NodeIs::Ready, NodeIs::Unknown]
        .map(|is| hanging("workload-0-x", "n1", is));
    assert_eq!(reported.each_ref().map(|(_, by_force)| *by_force), [true, true, false, false]);
    insta::assert_snapshot!(reported.map(|(line, _)| line).join("\n"));
}

#[test]
fn a_pod_that_starts_for_long_without_a_report_is_reported_once() {
    let mut reporter = Reporter::new([("fileserver".to_owned(), "new".to_owned())]);
    let unscheduled = PodState { node: None, ..pod("fileserver", "Pending", false) };
    reporter.hear(&Event::Pod(unscheduled), 0);
    assert_eq!(reporter.quiet(100, false), [""; 0], "its condition says why it has no node");
    reporter.hear(&Event::Pod(pod("fileserver", "Pending", false)), 100);
    reporter.hear(&Event::Pod(pod("another", "Pending", false)), 100);
    assert_eq!(reporter.quiet(109, false), [""; 0]);
    let lines = reporter.quiet(110, false);
    assert!(
        matches!(&lines[..], [line] if line.starts_with("fileserver  is still starting on node n1")),
        "{lines:?}"
    );
    assert_eq!(reporter.quiet(200, false), [""; 0]);
    assert_eq!(reporter.quiet(200, true).len(), 1, "the other");

    let mut reported = Reporter::new([("fileserver".to_owned(), "new".to_owned())]);
    reported.hear(&Event::Pod(pod("fileserver", "Pending", false)), 100);
    reported.hear(&report("fileserver", "new"), 101).unwrap();
    assert_eq!(reported.quiet(200, false), [""; 0], "there were words");
    let mut running = Reporter::new([("fileserver".to_owned(), "new".to_owned())]);
    running.hear(&Event::Pod(pod("fileserver", "Pending", false)), 100);
    running.hear(&Event::Pod(pod("fileserver", "Running", false)), 101);
    assert_eq!(running.quiet(200, false), [""; 0]);
}
