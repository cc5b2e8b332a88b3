//! Single scenarios that the property covers, written out so that they can be read.

use std::sync::Arc;

use cloud::error::Kind;
use cloud::gke::deploy::Prompt;
use cloud::gke::destroy::Loss;
use cloud::gke::gcp::{Google, Query, Scope, credentials};
use cloud::gke::plan::{Action, Plan, Resource, Step};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tests::standin::{Fault, Outcome, Project, Standin};

use crate::harness::{Ended, Site, World, runtime};

fn in_a_world(story: impl AsyncFn(World)) {
    runtime().block_on(async { story(World::start().await).await });
}

async fn planned(site: &Site) -> Plan {
    match site.plan().await {
        Ended::With(plan) => plan.unwrap(),
        ended => panic!("{ended:?}, and nobody pressed Ctrl-C"),
    }
}

fn action(plan: &Plan, resource: Resource) -> &Action {
    &plan.items.iter().find(|item| item.resource == resource).unwrap().action
}

/// The requests that make something.
fn made(site: &Site, what: &str) -> usize {
    let is =
        |method: &str, target: &str| method == "POST" && target.split('?').next().unwrap().ends_with(what);
    site.with(|project| project.recorded.iter().filter(|seen| is(&seen.method, &seen.target)).count())
}

#[test]
fn a_second_deploy_changes_nothing() {
    in_a_world(async |world| {
        let site = world.project(Project::new("p")).with_work();
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        let writes = site.with(|project| project.writes().len());
        assert_eq!(planned(&site).await.next(), Step::Done);
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        assert_eq!(site.with(|project| project.writes().len()), writes);
    });
}

#[test]
fn ctrl_c_after_the_request_is_resumed_from_the_kept_name_or_without_it() {
    in_a_world(async |world| {
        for (number, loses) in [false, true].into_iter().enumerate() {
            let mut project = Project::new(&format!("p{number}"));
            project.apis.extend(cloud::gke::plan::APIS.map(str::to_owned));
            // Requests 0 to 3 read; 4 makes the cluster, 9 the instance.
            project.schedule.insert(4, Fault::Interrupt { done: true });
            let site = world.project(project);
            assert!(matches!(site.deploy().await, Ended::Interrupted));
            assert_eq!(made(&site, "/clusters"), 1);
            if loses {
                site.lose_memory();
            }
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            assert_eq!(made(&site, "/clusters"), 1);
        }
    });
}

#[test]
fn a_lost_answer_is_not_sent_again() {
    in_a_world(async |world| {
        let mut project = Project::new("p");
        project.apis.extend(cloud::gke::plan::APIS.map(str::to_owned));
        project.schedule.insert(4, Fault::Cut { done: true });
        let site = world.project(project);
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        assert_eq!(made(&site, "/clusters"), 1);
    });
}

#[test]
fn a_cluster_whose_creation_failed_is_recreated_by_the_next_deploy() {
    in_a_world(async |world| {
        let mut project = Project::new("p");
        project.outcomes.extend([Outcome::Done, Outcome::Failed("out of luck".into())]);
        let site = world.project(project);
        assert!(matches!(site.deploy().await, Ended::With(Err(_))));
        assert_eq!(*action(&planned(&site).await, Resource::Cluster), Action::Replace("out of luck".into()));
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        assert_eq!(made(&site, "/clusters"), 2);
    });
}

#[test]
fn a_deploy_repairs_what_was_half_destroyed() {
    in_a_world(async |world| {
        let site = world.project(Project::new("p")).with_work();
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.with(|project| {
            project.filestores.clear();
            project.staged.clear();
        });
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        assert_eq!((made(&site, "/clusters"), made(&site, "/instances")), (1, 2));
        let volume = site.with(|project| project.objects.volume.clone());
        assert!(volume.is_some_and(|volume| volume.ends_with(":/NFSVol")));
    });
}

/// A deploy of the datasets of before gets them, not a mixture.
#[test]
fn a_set_that_is_half_staged_is_not_taken_for_the_one_before() {
    in_a_world(async |world| {
        for is_in_bucket in [false, true] {
            let mut calls = 0;
            while is_cut_short_and_taken_back(&world, is_in_bucket, calls).await {
                calls += 1;
            }
            assert!(calls > 3, "it ended after {calls} calls");
        }
    });
}

/// Returns whether the deploy of the other set was cut short after this number of calls.
async fn is_cut_short_and_taken_back(world: &World, is_in_bucket: bool, calls: usize) -> bool {
    const DAY: &str = "datasets/training/2018-04-01.pkl";
    let site = world.project(Project::new(&format!("{}-{calls}", if is_in_bucket { "b" } else { "f" })));
    let site = site.with_work();
    let mut site = if is_in_bucket { site.with_bucket() } else { site };
    assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
    site.with(|project| {
        project.finish_job();
        project.schedule.insert(project.requests + calls, Fault::Interrupt { done: true });
    });
    site.write_a_dataset("another");
    let was_cut = matches!(site.deploy().await, Ended::Interrupted);
    site.with(|project| {
        project.schedule.clear();
        project.finish_job();
    });
    site.write_a_dataset("1");
    assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
    let sha256 = site.with(|project| match project.buckets.values().find(|_| is_in_bucket) {
        None => project.staged[DAY].clone(),
        Some(bucket) => {
            let day = bucket.objects.iter().find(|((name, _), _)| name.ends_with(DAY));
            hex::encode(Sha256::digest(&day.unwrap().1.bytes))
        }
    });
    assert_eq!(sha256, hex::encode(Sha256::digest("1")), "after {calls} calls");
    was_cut
}

#[test]
fn filestore_grows_in_place_and_never_shrinks() {
    in_a_world(async |world| {
        let mut site = world.project(Project::new("p"));
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.desired.capacity_gib = 2048;
        assert_eq!(
            *action(&planned(&site).await, Resource::Filestore),
            Action::Change("1024 to 2048 GiB".into())
        );
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.desired.capacity_gib = 1024;
        let kept = Action::Keep(Some("has 2048 GiB; it can only grow".into()));
        let plan = planned(&site).await;
        assert_eq!(*action(&plan, Resource::Filestore), kept);
        // What is there is paid for, whatever is asked for.
        assert_eq!(plan.cost.lines[1].what, "Filestore BASIC_HDD 2048 GiB");
        let Ended::With(Ok((_, cost))) = site.deploy().await else { panic!("all is there") };
        assert_eq!(cost, plan.cost);
    });
}

/// What the same datasets give with another worker is not there yet, however well the last one ended.
#[test]
fn a_job_that_is_done_is_run_again_with_another_image_or_arguments() {
    in_a_world(async |world| {
        let mut site = world.project(Project::new("p")).with_work();
        let again = "the last one ran with another image or other arguments";
        for (started, image, args) in
            [(1, "worker:1", ""), (2, "worker:2", ""), (3, "worker:2", "features=rich")]
        {
            let work = site.desired.work.as_mut().unwrap();
            work.image = image.into();
            work.worker_args = vec!["--param".into(), args.into()];
            let expected = Action::Make((started > 1).then(|| again.to_owned()));
            assert_eq!(*action(&planned(&site).await, Resource::Job), expected);
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            site.with(Project::finish_job);
            assert_eq!(*action(&planned(&site).await, Resource::Job), Action::Keep(Some("done".into())));
            assert_eq!(site.with(|project| project.jobs_started), started);
        }
        site.desired.workers = 7;
        assert_eq!(*action(&planned(&site).await, Resource::Job), Action::Keep(Some("done".into())));
    });
}

#[test]
fn a_running_job_is_given_more_workers_and_no_other_image() {
    in_a_world(async |world| {
        let mut site = world.project(Project::new("p")).with_work();
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.desired.workers = 5;
        assert_eq!(*action(&planned(&site).await, Resource::Job), Action::Change("1 to 5 workers".into()));
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        assert_eq!(*action(&planned(&site).await, Resource::Job), Action::Keep(Some("running".into())));
        site.desired.work.as_mut().unwrap().image = "worker:2".into();
        let Ended::With(Err(error)) = site.deploy().await else { panic!("somebody's Job is running") };
        assert_eq!(error.kind, Kind::Differs);
        assert_eq!(error.why, "a Job is running with another image or other arguments");
        assert_eq!(site.with(|project| project.jobs_started), 1);
    });
}

#[test]
fn two_deployments_live_side_by_side() {
    in_a_world(async |world| {
        let mut site = world.project(Project::new("p"));
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.desired.deployment = "second".into();
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        assert!(matches!(site.destroy().await, Ended::With(Ok(_))));
        site.with(|project| {
            assert_eq!(project.labelled("second"), Vec::<String>::new());
            let rest = ["cluster batch-aiml", "Filestore batch-aiml-filestore", "disk gke-batch-aiml-node"];
            let left = project.labelled("batch-aiml");
            assert!(
                left.iter().zip(rest).all(|(left, rest)| left.starts_with(rest)) && left.len() == 3,
                "{left:?}"
            );
        });
    });
}

#[test]
fn destroy_takes_the_images_and_what_a_cluster_left_behind() {
    in_a_world(async |world| {
        let mut project = Project::new("p");
        project.apis.insert("artifactregistry.googleapis.com".into());
        project.leaves_disk = true;
        let site = world.project(project);
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.google.create_repository("batch-aiml", "us-central1").await.unwrap();
        assert!(matches!(site.destroy().await, Ended::With(Ok(_))));
        assert_eq!(site.with(|project| project.labelled("batch-aiml")), Vec::<String>::new());
    });
}

/// Agrees, and keeps what was said of the results.
#[derive(Default)]
struct Listens {
    results: Option<Result<usize, String>>,
}

impl Prompt<Loss> for Listens {
    async fn confirm(&mut self, loss: &Loss) -> bool {
        self.results = Some(loss.unfetched.clone().map(|files| files.len()));
        true
    }

    fn show(&mut self, _line: &str) {}
}

/// Somebody deleted the instance by hand, and the staging pod still has it mounted.
#[test]
fn destroy_does_not_wait_without_end_for_a_volume_that_is_gone() {
    in_a_world(async |world| {
        let site = world.project(Project::new("p")).with_work();
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.with(|project| {
            project.filestores.clear();
            project.volume_hangs = true;
        });
        let mut prompt = Listens::default();
        let ended = site.destroy_asking(&mut prompt).await;
        assert!(matches!(ended, Ended::With(Ok(_))), "{ended:?}");
        assert_eq!(prompt.results, Some(Err("look for results: no answer within 180 s".into())));
        assert_eq!(site.with(|project| project.labelled("batch-aiml")), Vec::<String>::new());
    });
}

#[test]
fn destroy_of_nothing_is_a_success() {
    in_a_world(async |world| {
        let site = world.project(Project::new("p"));
        assert!(matches!(site.destroy().await, Ended::With(Ok(_))));
        assert_eq!(site.with(|project| project.writes().len()), 0);
    });
}

#[test]
fn an_api_disabled_after_the_deploy_is_not_taken_for_nothing_left() {
    in_a_world(async |world| {
        let site = world.project(Project::new("p"));
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.with(|project| project.apis.remove("file.googleapis.com"));
        let Ended::With(Err(error)) = site.destroy().await else { panic!("it can't be proved") };
        assert!(error.to_string().contains("file.googleapis.com is not enabled"), "{error}");
    });
}

#[test]
fn a_spot_machine_is_preempted_on_request() {
    in_a_world(async |world| {
        let mut project = Project::new("p");
        project.apis.insert("compute.googleapis.com".into());
        let labels = json!({"batch-deployment": "batch-aiml"});
        let machine = json!({
            "name": "spot-1", "zone": "us-central1-b", "labels": labels, "scheduling": {"provisioningModel": "SPOT"},
        });
        project.machines.insert(("us-central1-b".into(), "spot-1".into()), machine);
        let site = world.project(project);
        let machines = site.google.machines("batch-aiml").await.unwrap();
        assert!(machines.len() == 1 && machines[0].spot, "{machines:?}");
        site.google.preempt(&machines[0]).await.unwrap();
        assert_eq!(site.google.machines("batch-aiml").await.unwrap(), []);
    });
}

/// Both have a first operation; that of Service Usage is asked for outside of any project's path.
#[test]
fn one_projects_faults_reach_no_other() {
    in_a_world(async |world| {
        let (one, other) = (world.project(Project::new("one")), world.project(Project::new("other")));
        assert!(matches!(one.deploy().await, Ended::With(Ok(_))));
        one.with(|project| {
            let all = project.requests..project.requests + 100;
            project.schedule = all.map(|request| (request, Fault::Slow { done: false })).collect();
        });
        assert!(matches!(other.deploy().await, Ended::With(Ok(_))));
        assert_eq!(one.with(|project| project.schedule.len()), 100);
    });
}

#[test]
fn enums_come_back_by_name_to_gcloud_and_by_number_to_googles_crates() {
    in_a_world(async |world| {
        let site = world.project(Project::new("p"));
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        let tier = site.with(|project| project.filestores.values().next().unwrap()["tier"].clone());
        assert_eq!(tier, json!("BASIC_HDD"), "sent as a number, kept by name");
    });
}

/// Application Default Credentials as `gcloud auth application-default login` writes them, with the
/// stand-in as the token endpoint.
#[test]
fn application_default_credentials_get_a_token_and_use_it() {
    runtime().block_on(async {
        let standin = Standin::start().await.unwrap();
        standin.add(Project::new("p"));
        let file = json!({
            "type": "authorized_user", "client_id": "id", "client_secret": "secret",
            "refresh_token": "refresh", "token_uri": standin.token_uri,
        });
        let user = google_cloud_auth::credentials::user_account::Builder::new(file).build().unwrap();
        let clock = Arc::new(cloud::clock::SystemClock);
        let google = Google::new("p", standin.settings(), user, clock).await.unwrap();
        let observed = google.observe(&Query::of("batch-aiml", Scope::Everything)).await.unwrap();
        assert_eq!(observed.apis.len(), 3);
        assert!(credentials(|_| Some("a token\n".into()), "p").is_err(), "what is no token is refused");
    });
}
