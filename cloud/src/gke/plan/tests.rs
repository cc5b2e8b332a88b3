use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::gke::money::Money;
use crate::k8s::cluster::Objects;
use crate::k8s::pod::PodChoice;

fn prices() -> Prices {
    Prices::built_in().unwrap()
}

fn desired() -> Desired {
    Desired::tutorial("p")
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Making),
        Just(State::Ready),
        Just(State::Busy),
        Just(State::Going),
        Just(State::Broken("broken".into())),
        Just(State::Odd("SUSPENDED".into())),
    ]
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop_oneof![
        3 => Just(labels("batch-aiml")),
        1 => Just(labels("another")),
        1 => Just(Labels::new()),
        1 => Just(Labels::from([(DEPLOYMENT.to_owned(), "batch-aiml".to_owned())])),
    ]
}

prop_compose! {
    fn any_cluster()(
        name in prop::sample::select(vec!["batch-aiml", "another"]),
        location in prop::sample::select(vec!["us-central1", "europe-west1"]),
        (labels, state, autopilot) in (any_labels(), any_state(), prop::bool::weighted(0.8)),
    ) -> ClusterSeen {
        ClusterSeen {
            name: name.into(), location: location.into(), labels, state, network: "default".into(),
            mode: if autopilot { Mode::Autopilot } else { Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 1, grace_s: 15 } },
            endpoint: "34.1.2.3".into(), ca: "Y2E=".into(), created_s: None, has_identities: autopilot,
        }
    }
}

prop_compose! {
    fn any_filestore()(
        name in prop::sample::select(vec!["batch-aiml-filestore", "another-filestore"]),
        location in prop::sample::select(vec!["us-central1-b", "us-central1-c"]),
        (labels, state) in (any_labels(), any_state()),
        capacity_gib in prop::sample::select(vec![1024_u64, 2048, 512]),
        address in prop::option::of(Just("10.0.0.2".to_owned())),
    ) -> FilestoreSeen {
        FilestoreSeen {
            name: name.into(), location: location.into(), labels, state, tier: "BASIC_HDD".into(),
            share: SHARE.into(), capacity_gib, network: "default".into(), address, created_s: None,
        }
    }
}

prop_compose! {
    fn any_bucket()(
        name in prop::sample::select(vec!["p-batch-aiml", "another"]),
        location in prop::sample::select(vec!["us-central1", "europe-west1"]),
        (labels, is_as_made) in (any_labels(), any::<bool>()),
        users in prop::option::of(Just(BTreeSet::new())),
    ) -> BucketSeen {
        BucketSeen {
            name: name.into(), location: location.into(), labels, users, created_s: None, project_number: "1".into(),
            uniform_access: is_as_made, public_prevented: is_as_made, soft_delete_s: 0, versioned: false,
            kept_until: String::new(),
        }
    }
}

prop_compose! {
    fn any_operation()(
        resource in prop::sample::select(vec![Resource::Cluster, Resource::Filestore, Resource::Apis]),
        verb in prop::sample::select(vec![Verb::Create, Verb::Update, Verb::Delete]),
        done in any::<bool>(),
        error in prop::option::of(Just("why".to_owned())),
    ) -> OperationSeen {
        OperationSeen { resource, verb, name: "operation-1".into(), done, error: error.filter(|_| done) }
    }
}

prop_compose! {
    fn any_observed()(
        enabled in prop::bool::weighted(0.8),
        clusters in prop::collection::vec(any_cluster(), 0..3),
        filestores in prop::collection::vec(any_filestore(), 0..3),
        buckets in prop::collection::vec(any_bucket(), 0..3),
        operations in prop::collection::vec(any_operation(), 0..3),
        objects in prop::option::of((any::<bool>(), any::<bool>())),
    ) -> Observed {
        let objects = objects.map(|(volume, redis_ready)| Objects {
            volume: volume.then(|| "10.0.0.2:/NFSVol".to_owned()),
            redis_ready,
            ..Objects::default()
        });
        let apis = APIS.map(|api| (api.to_owned(), enabled)).into();
        Observed { apis, clusters, filestores, buckets, operations, objects, ..Observed::nothing() }
    }
}

proptest! {
    #[test]
    fn what_is_not_ours_is_never_deleted_or_changed(observed in any_observed()) {
        let desired = desired();
        let plan = plan(&desired, &observed, &prices());
        let cluster = target_cluster(&desired, &observed).is_none_or(|seen| is_ours(&seen.labels, "batch-aiml"));
        let filestore = target_filestore(&desired, &observed).is_none_or(|seen| is_ours(&seen.labels, "batch-aiml"));
        match plan.next() {
            Step::Delete(Resource::Cluster) | Step::Make(Resource::Cluster) => prop_assert!(cluster),
            Step::Delete(_) | Step::Change(_) | Step::Make(_) => prop_assert!(filestore),
            Step::Apply | Step::Stage | Step::Start | Step::Done => prop_assert!(cluster && filestore),
            Step::EnableApis(_) | Step::Wait | Step::Stop(_) => {}
        }
    }

    #[test]
    fn nothing_is_made_while_one_of_ours_exists_anywhere(observed in any_observed()) {
        let ours = |seen: &ClusterSeen| is_ours(&seen.labels, "batch-aiml");
        let ours_too = |seen: &FilestoreSeen| is_ours(&seen.labels, "batch-aiml");
        match plan(&desired(), &observed, &prices()).next() {
            Step::Make(Resource::Cluster) => prop_assert!(!observed.clusters.iter().any(ours)),
            Step::Make(_) => prop_assert!(!observed.filestores.iter().any(ours_too)),
            _ => {}
        }
    }

    #[test]
    fn an_instance_that_may_hold_results_is_never_replaced(observed in any_observed()) {
        if plan(&desired(), &observed, &prices()).next() == Step::Delete(Resource::Filestore) {
            let newest = observed.operations.iter().find(|seen| {
                seen.resource == Resource::Filestore && seen.verb == Verb::Create
            });
            prop_assert!(newest.is_some_and(|seen| seen.error.is_some()));
        }
    }

    #[test]
    fn done_means_that_all_is_there(observed in any_observed()) {
        let desired = desired();
        if plan(&desired, &observed, &prices()).is_done() {
            let cluster = target_cluster(&desired, &observed).unwrap();
            prop_assert!(matches!(cluster.state, State::Ready | State::Busy));
            let export = export(target_filestore(&desired, &observed).unwrap()).unwrap();
            prop_assert_eq!(export.server, "10.0.0.2");
            prop_assert!(observed.objects.unwrap().redis_ready);
        }
    }

    #[test]
    fn a_teardown_is_clean_only_of_nothing_and_deletes_only_ours(observed in any_observed()) {
        let down = teardown("batch-aiml", &observed);
        let ours = observed.clusters.iter().filter(|seen| is_ours(&seen.labels, "batch-aiml")).count()
            + observed.filestores.iter().filter(|seen| is_ours(&seen.labels, "batch-aiml")).count()
            + observed.buckets.iter().filter(|seen| is_ours(&seen.labels, "batch-aiml")).count();
        prop_assert!(!down.is_clean() || ours == 0);
        prop_assert!(down.left().len() >= ours);
        prop_assert!(down.delete.len() <= ours);
        // Its workers write to the bucket as long as there is a cluster.
        let deletes = |resource| down.delete.iter().any(|doomed| doomed.resource == resource);
        let has_cluster = down.left().iter().any(|left| left.resource == Resource::Cluster);
        prop_assert!(!(deletes(Resource::Bucket) && has_cluster));
    }

    #[test]
    fn a_bucket_that_is_not_ours_is_never_changed_and_ours_is_the_only_one(observed in any_observed()) {
        let desired = Desired { storage: Storage::Gcs, ..desired() };
        let plan = plan(&desired, &observed, &prices());
        let ours = |seen: &BucketSeen| is_ours(&seen.labels, "batch-aiml");
        let target = target_bucket(&desired, &observed);
        let is_only_one = observed.buckets.iter().filter(|seen| ours(seen)).all(|seen| target == Some(seen));
        match plan.next() {
            Step::Make(Resource::Bucket) => prop_assert!(target.is_none() && is_only_one),
            Step::Change(_) | Step::Make(Resource::Access) | Step::Apply | Step::Done => {
                prop_assert!(target.is_some_and(ours) && is_only_one);
            }
            // Nothing else is paid for before.
            Step::Make(_) => prop_assert!(target.is_some_and(ours)),
            Step::Delete(_) | Step::Stage | Step::Start | Step::EnableApis(_) | Step::Wait | Step::Stop(_) => {}
        }
    }

    /// At the plan's highest prices, a run that is stopped has cost what it may and not a second more.
    #[test]
    fn a_run_is_stopped_before_it_costs_more(cents in 1_u32..100_000, workers in 1_u32..100, deadline_s in prop::option::of(1_u64..100_000)) {
        let most: Money = format!("{}.{:02}", cents / 100, cents % 100).parse().unwrap();
        let cost = prices().estimate(&Desired { workers, ..desired() });
        let bounded = Work { max_run_cost: Some(most), deadline_s, ..work() };
        let cost_after = |seconds: u64| cost.busy_hour.high.scaled(u128::from(seconds), 3600);
        match Stop::of(&bounded, &cost) {
            Ok(stop) => {
                let stop = stop.unwrap();
                prop_assert!(cost_after(stop.after_s) <= most);
                prop_assert!(stop.after_s <= deadline_s.unwrap_or(u64::MAX));
                prop_assert!(stop.cost.is_none() || cost_after(stop.after_s + 2) > most);
            }
            Err(_) => prop_assert!(cost_after(302) > most),
        }
    }

    #[test]
    fn more_is_never_cheaper(workers in 1_u32..100, more in 1_u32..100, gib in 1024_u64..60_000) {
        let smaller = Desired { workers, capacity_gib: gib, ..desired() };
        let larger = Desired { workers: workers + more, capacity_gib: gib + 1, ..desired() };
        let (smaller, larger) = (prices().estimate(&smaller), prices().estimate(&larger));
        prop_assert!(smaller.busy_hour.high <= larger.busy_hour.high);
        prop_assert!(smaller.idle_month.low <= larger.idle_month.low);
        prop_assert!(smaller.idle_hour.low <= smaller.busy_hour.low);
    }
}

/// 0.36 to 0.41 dollars, and what Autopilot may add for pods that are not to be evicted.
#[test]
fn the_tutorial_left_running_costs_what_the_research_found() {
    let estimate = prices().estimate(&desired());
    let hour = |text: &str| text.parse::<Money>().unwrap();
    assert!(
        estimate.idle_hour.low >= hour("0.34") && estimate.idle_hour.high <= hour("0.44"),
        "{}",
        estimate.idle_hour
    );
}

/// From 9 to 40 % of the machine, and all of its disk.
#[test]
fn a_spot_machines_disk_is_no_cheaper() {
    let spot = |nodes| {
        let mode = Mode::Standard { machine_type: "e2-standard-2".into(), nodes, grace_s: 15 };
        prices().estimate(&Desired { mode, ..desired() }).lines.pop().unwrap().hour.unwrap()
    };
    insta::assert_snapshot!(spot(3));
    assert_eq!(spot(1).scaled(3, 1), spot(3));
}

#[test]
fn what_has_no_price_is_refused_by_max_cost() {
    let elsewhere = Desired { region: "europe-west1".into(), ..desired() };
    let estimate = prices().estimate(&elsewhere);
    let error = estimate.check("100".parse().unwrap()).unwrap_err();
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint.as_deref().unwrap()));
    insta::assert_snapshot!("what_has_no_price_is_said_to_lack", estimate.idle_text());
    let dear = prices().estimate(&Desired { workers: 100, ..desired() });
    insta::assert_snapshot!(dear.check("0.5".parse().unwrap()).unwrap_err().to_string());
}

fn work() -> Work {
    Work {
        image: "worker:1".into(),
        worker_args: Vec::new(),
        pod: PodChoice::default(),
        digest: String::new(),
        files: 1,
        bytes: 1,
        deadline_s: None,
        max_run_cost: None,
    }
}

/// The refusal of a plan whose run may cost `most` dollars.
fn refused_run(desired: Desired, most: &str) -> String {
    let work = Work { max_run_cost: Some(most.parse().unwrap()), ..work() };
    let plan = plan(&Desired { work: Some(work), ..desired }, &Observed::nothing(), &prices());
    let error = plan.refusal().unwrap();
    format!("{error}\nhint: {}", error.hint.as_deref().unwrap())
}

#[test]
fn a_run_that_no_money_allows_is_refused() {
    insta::assert_snapshot!(refused_run(desired(), "0.01"));
    let elsewhere = Desired { region: "europe-west1".into(), ..desired() };
    assert!(refused_run(elsewhere, "100").contains("no price is known for cluster fee"));
    let mode = Mode::Standard { machine_type: "n9-standard-2".into(), nodes: 1, grace_s: 15 };
    insta::assert_snapshot!(refused_run(Desired { mode, ..desired() }, "100"));
}

#[test]
fn a_running_job_is_given_a_new_bound() {
    let job = |deadline_s| JobSeen {
        state: JobState::Running,
        digest: String::new(),
        program: work().program(),
        shape: crate::k8s::cluster::shape_digest(&work().pod),
        workers: 1,
        deadline_s,
    };
    let stop = Stop { after_s: 3600, cost: None };
    assert_eq!(job_action(Some(&job(None)), &work(), 1, None), Action::Keep(Some("running".into())));
    assert_eq!(
        job_action(Some(&job(Some(3600))), &work(), 1, Some(stop)),
        Action::Keep(Some("running".into()))
    );
    let bounded = job_action(Some(&job(None)), &work(), 1, Some(stop));
    assert_eq!(bounded, Action::Change("to stop after 1h, as --deadline says".into()));
}

/// A file of one's own takes the place of the table, and each of its prices has a source.
#[test]
fn another_table_has_other_prices() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.toml");
    let ours = include_str!("../../../prices.toml");
    std::fs::write(&path, ours.replace("us-central1", "mars-north1").replace("2026-11", "2031-02")).unwrap();
    let there = Prices::read(Some(&path)).unwrap();
    let on_mars = Desired { region: "mars-north1".into(), ..desired() };
    assert_eq!(there.estimate(&on_mars).busy_hour, prices().estimate(&desired()).busy_hour);
    assert_eq!(there.as_of(), "2031-02");
    std::fs::write(&path, ours.replace("disks =", "discs =")).unwrap();
    let error = Prices::read(Some(&path)).unwrap_err();
    assert!(error.why.contains("`disks` is not among its [sources]"), "{error}");
}

#[test]
fn a_run_on_spot_costs_less_than_on_demand() {
    let used = crate::k8s::cluster::PodUse {
        pod: "workload-0".into(),
        seconds: 7200,
        size: crate::k8s::cluster::WORKER,
        spot: true,
    };
    let cost = prices().run_cost("us-central1", &[used.clone(), used]).unwrap();
    insta::assert_snapshot!(format!("paid {}, on demand {}", cost.paid, cost.on_demand));
    assert_eq!(prices().run_cost("mars-north1", &[]), None);
}

#[cfg(feature = "gcp")]
#[test]
fn the_plan_as_it_is_shown() {
    let mut observed =
        Observed { apis: APIS.map(|api| (api.to_owned(), false)).into(), ..Observed::nothing() };
    let fresh = plan(&desired(), &observed, &prices());
    insta::assert_snapshot!("plan_of_a_fresh_project", crate::commands::plan_text(&fresh));
    insta::assert_snapshot!(
        "plan_of_a_fresh_project_json",
        format!("{:#}", crate::commands::plan_json(&fresh))
    );
    observed.apis = APIS.map(|api| (api.to_owned(), true)).into();
    observed.filestores = vec![FilestoreSeen {
        name: "batch-aiml-filestore".into(),
        location: "us-central1-b".into(),
        labels: Labels::new(),
        state: State::Ready,
        tier: "BASIC_HDD".into(),
        share: SHARE.into(),
        capacity_gib: 1024,
        network: "default".into(),
        address: None,
        created_s: None,
    }];
    let standard = Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s: 15 };
    let refused = plan(&Desired { mode: standard, ..desired() }, &observed, &prices());
    insta::assert_snapshot!("plan_that_is_refused", crate::commands::plan_text(&refused));
}

/// Filestore's 1 TiB, and a staging pod that mounts it, are gone; what the issue of a bucket promised.
#[test]
fn a_bucket_costs_at_most_a_third_of_filestore() {
    let bucket = Desired { storage: Storage::Gcs, ..desired() };
    let (with_bucket, with_filestore) = (prices().estimate(&bucket), prices().estimate(&desired()));
    let third = with_filestore.idle_hour.scaled(1, 3);
    assert!(with_bucket.idle_hour.low <= third.low && with_bucket.idle_hour.high <= third.high);
    assert_eq!(with_bucket.unpriced(), [""; 0]);
    assert!(prices().estimate(&Desired { region: "europe-west1".into(), ..bucket }).operations.is_none());
}

#[cfg(feature = "gcp")]
#[test]
fn the_plan_of_a_bucket_as_it_is_shown() {
    let observed = Observed {
        apis: Storage::Gcs.apis().map(|api| (api.to_owned(), false)).into(),
        ..Observed::nothing()
    };
    let fresh = plan(&Desired { storage: Storage::Gcs, ..desired() }, &observed, &prices());
    insta::assert_snapshot!(crate::commands::plan_text(&fresh));
}

#[test]
fn machines_that_leave_more_than_is_asked_for_will_do() {
    let mode = |grace_s| Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s };
    let table = [(15, 15, true), (105, 15, true), (120, 105, true), (15, 105, false), (105, 120, false)];
    for (there, wanted, does) in table {
        assert_eq!(mode(there).serves(&mode(wanted)), does, "{there} {wanted}");
    }
    assert!(!Mode::Autopilot.serves(&mode(15)) && !mode(15).serves(&Mode::Autopilot));
    // Two levels; the kubelet is given one of them.
    assert_eq!([1, 15, 16, 105, 106, 120].map(Mode::leaves), [15, 15, 105, 105, 106, 120]);
    assert_eq!(mode(106).shutdown_grace(), Some((120, 14)));
    assert_eq!((mode(15).shutdown_grace(), Mode::Autopilot.shutdown_grace()), (None, None));
}

/// More memory, GPUs: what workers request is what they cost.
#[test]
fn what_workers_request_is_priced() {
    let busy = |pod| {
        let work = Work { pod, ..work() };
        prices().estimate(&Desired { work: Some(work), ..desired() })
    };
    let usual = busy(PodChoice::default());
    let larger = busy(PodChoice { milli_cpu: Some(4000), mib: Some(16 << 10), ..PodChoice::default() });
    assert!(larger.busy_hour.low > usual.busy_hour.low && larger.idle_hour == usual.idle_hour);
    let gpus = busy(PodChoice { gpus: 2, ..PodChoice::default() });
    assert_eq!(gpus.unpriced(), ["GPUs on Spot: 2"]);
    assert!(gpus.check("1000".parse().unwrap()).is_err(), "nothing is promised of what has no price");
}
