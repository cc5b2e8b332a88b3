//! Under any schedule of faults, with Ctrl-C at any request: repeated `deploy` ends up, repeated
//! `destroy` ends clean, nothing is made twice, nothing that is not ours is touched, and nothing is left
//! behind unnamed.
//!
//! DEPLOYER_SCHEDULES of them (100 where nothing is said), from seed DEPLOYER_FROM on, or the one of
//! DEPLOYER_SEED.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cloud::error::Error;
use cloud::k8s::cluster::JobState;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestError, TestRunner};
use serde_json::json;
use tests::standin::{Bucket, Fault, Project, Schedule};

use crate::harness::{Ended, Site, World, runtime};

/// Where nothing is said.
const SCHEDULES: u64 = 100;
/// Schedules beside each other.
const THREADS: usize = 2;

/// Each attempt takes at least one fault of the schedule out of the way.
const ATTEMPTS_MAX: usize = 80;

#[derive(Clone, Debug)]
struct Case {
    schedule: Schedule,
    /// The attempts before which the state file is lost.
    forgets: BTreeSet<usize>,
    leaves_disk: bool,
    work: bool,
    /// A bucket holds the volume.
    bucket: bool,
    /// How many looks an operation takes.
    looks: usize,
    /// After how many attempts of destroying the user changes their mind and deploys again.
    regret: Option<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    let schedule = proptest::collection::btree_map(0..160_usize, Fault::any(), 0..40);
    let forgets = proptest::collection::btree_set(0..ATTEMPTS_MAX, 0..ATTEMPTS_MAX / 2);
    let regret = proptest::option::weighted(0.3, 1..4_usize);
    (schedule, forgets, any::<bool>(), any::<bool>(), any::<bool>(), 1..4_usize, regret).prop_map(
        |(schedule, forgets, leaves_disk, work, bucket, looks, regret)| Case {
            schedule,
            forgets,
            leaves_disk,
            work,
            bucket,
            looks,
            regret,
        },
    )
}

/// Things that are there before and after, bearing our labels or names by half.
fn project(id: &str, case: &Case) -> Project {
    let mut project = Project::new(id);
    project.schedule = case.schedule.clone();
    project.leaves_disk = case.leaves_disk;
    project.looks = case.looks;
    project.apis.insert("artifactregistry.googleapis.com".into());
    let another = json!({"managed-by": "batch-cloud", "batch-deployment": "another"});
    let key = |location: &str, name: &str| (location.to_owned(), name.to_owned());
    project.clusters.insert(
        key("us-central1", "another"),
        json!({"name": "another", "location": "us-central1", "status": "RUNNING", "resourceLabels": another}),
    );
    // Our name in another place, without our labels.
    project.clusters.insert(
        key("europe-west1", "batch-aiml"),
        json!({"name": "batch-aiml", "location": "europe-west1", "status": "RUNNING", "resourceLabels": {"batch-deployment": "batch-aiml-2"}}),
    );
    project.filestores.insert(
        key("us-central1-b", "another-filestore"),
        json!({"name": format!("projects/{id}/locations/us-central1-b/instances/another-filestore"), "state": "READY", "labels": another}),
    );
    let resource = json!({"name": "another-bucket", "location": "US-CENTRAL1", "labels": another});
    project.buckets.insert("another-bucket".into(), Bucket::new(resource));
    project.disks.insert(
        key("us-central1-b", "precious"),
        json!({"name": "precious", "zone": "us-central1-b", "labels": another}),
    );
    project
}

/// What was there before, still is.
fn assert_foreign_untouched(site: &Site) -> Result<(), TestCaseError> {
    site.with(|project| {
        prop_assert!(project.clusters.keys().filter(|(_, name)| name == "another").count() == 1);
        prop_assert!(project.clusters.keys().any(|(place, _)| place == "europe-west1"));
        prop_assert!(project.filestores.keys().any(|(_, name)| name == "another-filestore"));
        prop_assert!(project.disks.keys().any(|(_, name)| name == "precious"));
        prop_assert!(project.buckets.contains_key("another-bucket"));
        Ok(())
    })
}

/// One of each at most, whatever happened.
fn assert_nothing_twice(site: &Site) -> Result<(), TestCaseError> {
    let labelled = site.with(|project| project.labelled("batch-aiml"));
    for kind in ["cluster", "Filestore", "bucket"] {
        let count = labelled.iter().filter(|name| name.starts_with(kind)).count();
        prop_assert!(count <= 1, "{labelled:?}");
    }
    Ok(())
}

async fn bring_up(site: &Site, case: &Case) -> Result<(), TestCaseError> {
    let mut last = None;
    for number in 0..ATTEMPTS_MAX {
        if case.forgets.contains(&number) {
            site.lose_memory();
        }
        match site.deploy().await {
            Ended::With(Ok(_)) => return assert_up(site, case),
            Ended::With(Err(error)) => last = Some(error),
            Ended::Interrupted => {}
            Ended::Stuck(why) => return Err(TestCaseError::fail(format!("deploy: {why}"))),
        }
        assert_nothing_twice(site)?;
    }
    Err(TestCaseError::fail(format!("not up after {ATTEMPTS_MAX} attempts, last: {last:?}")))
}

fn assert_up(site: &Site, case: &Case) -> Result<(), TestCaseError> {
    site.with(|project| {
        let cluster = &project.clusters[&("us-central1".to_owned(), "batch-aiml".to_owned())];
        prop_assert_eq!(&cluster["status"], "RUNNING");
        match case.bucket {
            true => assert_bucket(project, case)?,
            false => assert_filestore(project)?,
        }
        prop_assert!(project.objects.redis_ready);
        if case.work {
            prop_assert_eq!(project.staged.len(), if case.bucket { 0 } else { 3 });
            let state = project.objects.job.as_ref().map(|job| job.state.clone());
            prop_assert!(matches!(state, Some(JobState::Running)));
            prop_assert!(project.jobs_started <= 1 + project.forgotten, "a Job was started twice");
        }
        Ok(())
    })
}

fn assert_filestore(project: &Project) -> Result<(), TestCaseError> {
    let instance = &project.filestores[&("us-central1-b".to_owned(), "batch-aiml-filestore".to_owned())];
    prop_assert_eq!(&instance["state"], "READY");
    let address = instance["networks"][0]["ipAddresses"][0].as_str().unwrap();
    prop_assert_eq!(project.objects.volume.clone(), Some(format!("{address}:/NFSVol")));
    Ok(())
}

/// Closed to all but the pods, with the datasets in it.
fn assert_bucket(project: &Project, case: &Case) -> Result<(), TestCaseError> {
    prop_assert!(project.filestores.keys().all(|(_, name)| name == "another-filestore"));
    let bucket = &project.buckets["my-project-batch-aiml"];
    prop_assert_eq!(&bucket.resource["iamConfiguration"]["publicAccessPrevention"], "enforced");
    prop_assert_eq!(&bucket.resource["softDeletePolicy"]["retentionDurationSeconds"], "0");
    let members: Vec<_> =
        bucket.policy.iter().map(|(role, members)| (role.as_str(), members.len())).collect();
    prop_assert_eq!(members, [("roles/storage.objectUser", 1)]);
    prop_assert_eq!(project.objects.volume.as_deref(), Some("gs://my-project-batch-aiml/volume"));
    if case.work {
        // Three datasets, what says that they are there, and the list that the run gets.
        let count = bucket.names().iter().filter(|name| !name.contains("/output/")).count();
        prop_assert_eq!(count, 5, "{:?}", bucket.names());
        let day = bucket.objects.iter().find(|((name, _), _)| name.ends_with("training/2018-04-01.pkl"));
        prop_assert_eq!(&day.unwrap().1.bytes, b"1");
    }
    Ok(())
}

/// What workers leave, and what somebody else's settings keep.
fn leave_results(project: &mut Project) {
    let Some(bucket) = project.buckets.get_mut("my-project-batch-aiml") else { return };
    bucket.resource["versioning"] = json!({"enabled": true});
    bucket.resource["softDeletePolicy"] = json!({"retentionDurationSeconds": "604800"});
    for text in ["first", "second"] {
        bucket.put("volume/output/report.txt", text.as_bytes(), json!({}));
    }
    bucket.uploads.insert("upload-1".into(), "volume/runs/1/a model & more.bin".into());
}

/// What `destroy` says when it can't go on names everything that may still be billed, or says that such things
/// could not be asked about there.
fn assert_named(site: &Site, error: &Error) -> Result<(), TestCaseError> {
    if !["destroy everything", "prove that nothing is left"].contains(&error.doing.as_str()) {
        return Ok(());
    }
    for left in site.with(|project| project.labelled("batch-aiml")) {
        let kind = ["cluster", "Filestore", "bucket", "image repository", "disk"]
            .iter()
            .find(|kind| left.starts_with(**kind));
        let (kind, place) = (kind.copied().unwrap_or_default(), left.rsplit(' ').next().unwrap_or_default());
        let named = [left.clone(), format!("{kind} in {place} ("), format!("{kind} in all locations (")];
        prop_assert!(
            named.iter().any(|name| error.why.contains(name)),
            "{left} is not named in: {}",
            error.why
        );
    }
    Ok(())
}

async fn take_down(site: &Site, case: &Case) -> Result<(), TestCaseError> {
    let mut regret = case.regret;
    let mut last = None;
    for number in 0..ATTEMPTS_MAX {
        if case.forgets.contains(&number) {
            site.lose_memory();
        }
        match site.destroy().await {
            Ended::With(Ok(proof)) => {
                let left = site.with(|project| project.labelled("batch-aiml"));
                // It says of what nothing was proved: buckets that it may not list and knows nothing of.
                let unlisted = |left: &String| {
                    proof.unlisted.iter().any(|unlisted| left.starts_with(unlisted.resource.noun()))
                };
                prop_assert!(left.iter().all(unlisted), "left behind: {left:?}");
                prop_assert!(site.with(|project| project.deleted_buckets.is_empty()), "billed for a while");
                prop_assert!(!site.remembers_anything());
                if left.is_empty() {
                    return Ok(());
                }
            }
            Ended::With(Err(error)) => {
                assert_named(site, &error)?;
                last = Some(error);
            }
            Ended::Interrupted => {}
            Ended::Stuck(why) => return Err(TestCaseError::fail(format!("destroy: {why}"))),
        }
        if regret == Some(number + 1) {
            // A deploy on a half-destroyed set.
            regret = None;
            bring_up(site, case).await?;
        }
    }
    Err(TestCaseError::fail(format!("not down after {ATTEMPTS_MAX} attempts, last: {last:?}")))
}

async fn check(world: &World, case: &Case) -> Result<(), TestCaseError> {
    const ID: &str = "my-project";
    let site = world.project(project(ID, case));
    let site = if case.work { site.with_work() } else { site };
    let site = if case.bucket { site.with_bucket() } else { site };
    site.plan().await;
    site.with(|project| {
        let writes = project.writes().len();
        prop_assert_eq!(writes, 0, "a plan is made of reads alone");
        Ok(())
    })?;
    bring_up(&site, case).await?;
    assert_foreign_untouched(&site)?;
    site.with(leave_results);
    take_down(&site, case).await?;
    assert_foreign_untouched(&site)
}

/// The schedule of a seed, and the smallest one that fails like it if it does.
fn seed(world: &World, runtime: &tokio::runtime::Runtime, seed: u64) -> Result<(), String> {
    let config = ProptestConfig {
        cases: 1,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 300,
        // Of one that hangs, each smaller one that hangs takes as long as it takes to be sure of it.
        max_shrink_time: 180_000,
        ..ProptestConfig::default()
    };
    let checked = TestRunner::new(config).run(&case(), |case| runtime.block_on(check(world, &case)));
    checked.map_err(|error| {
        let story = match error {
            TestError::Fail(why, case) => format!("{why}\nsmallest: {case:?}"),
            TestError::Abort(why) => why.to_string(),
        };
        format!(
            "seed {seed}: {story}\nreplay: DEPLOYER_SEED={seed} cargo test --workspace --test deployer -- schedule"
        )
    })
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: it is no number")))
}

#[test]
fn whatever_the_schedule_deploy_ends_up_and_destroy_ends_clean() {
    let (from, schedules) =
        match (number("DEPLOYER_SEED"), number("DEPLOYER_SCHEDULES"), number("DEPLOYER_FROM")) {
            (Some(seed), _, _) => (seed, 1),
            (None, schedules, from) => (from.unwrap_or(0), schedules.unwrap_or(SCHEDULES)),
        };
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let work = || {
            let runtime = runtime();
            let world = runtime.block_on(World::start());
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= from + schedules {
                    return;
                }
                if let Err(why) = seed(&world, &runtime, number) {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).push(why);
                }
            }
        };
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Past the capture of tests' output: how many there were is part of the result.
    let _ = writeln!(
        std::io::stderr(),
        "deployer: {schedules} schedules of faults from seed {from}, {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Smallest schedules that once failed.
#[test]
fn schedules_that_once_failed() {
    use Fault::{Conflict, FailedOperation, Unauthorized};
    let schedules = [
        BTreeMap::from([(3, FailedOperation), (4, Unauthorized), (13, FailedOperation), (14, Unauthorized)]),
        BTreeMap::from([
            (0, Conflict),
            (7, Unauthorized),
            (12, FailedOperation),
            (13, FailedOperation),
            (14, Conflict),
            (34, Unauthorized),
        ]),
    ];
    let runtime = runtime();
    let world = runtime.block_on(World::start());
    for schedule in schedules {
        let forgets = BTreeSet::new();
        let case = Case {
            schedule,
            forgets,
            leaves_disk: false,
            work: false,
            bucket: false,
            looks: 1,
            regret: None,
        };
        runtime.block_on(check(&world, &case)).unwrap();
    }
}
