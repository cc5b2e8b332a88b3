//! What a person reads when it can't be done: each refusal with its hint.

use cloud::error::Error;
use cloud::gke::deploy::{Prompt, STAYS};
use cloud::gke::plan::{Mode, Plan, Tier};
use cloud::gke::reason::explain;
use serde_json::{Value, json};
use tests::standin::{Fault, Outcome, Project, Rule};
use worker::failure::Failure;

use crate::harness::{Ended, Site, World, runtime};

/// Google's error body.
fn error(code: u16, status: &str, message: &str, details: Value) -> String {
    json!({"error": {"code": code, "message": message, "status": status, "details": details}}).to_string()
}

fn info(reason: &str, metadata: Value) -> Value {
    json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}])
}

fn rule(method: &'static str, path: &'static str, times: usize, status: u16, body: String) -> Rule {
    Rule { method, path, times, status, body }
}

const ALWAYS: usize = usize::MAX;

/// As the command prints it.
fn shown(error: Error) -> String {
    Failure::from(explain(error)).shown()
}

/// Agrees, and keeps the one line that a failure printed.
struct Warned(String);

impl Prompt<Plan> for Warned {
    async fn confirm(&mut self, _plan: &Plan) -> bool {
        true
    }

    fn show(&mut self, line: &str) {
        if line == STAYS {
            self.0 = format!("{line}\n");
        }
    }
}

/// Deploys to a project after `prepare`, and gives what it says.
fn refused(prepare: impl FnOnce(&mut Project), ask: impl FnOnce(&mut Site)) -> String {
    runtime().block_on(async {
        let world = World::start().await;
        let mut project = Project::new("my-project");
        prepare(&mut project);
        let mut site = world.project(project);
        ask(&mut site);
        let mut prompt = Warned(String::new());
        match site.deploy_asking(&mut prompt).await {
            Ended::With(Err(error)) => format!("{}{}", prompt.0, shown(error)),
            ended => format!("{:?}", matches!(ended, Ended::Interrupted)),
        }
    })
}

fn refused_by(rule: Rule) -> String {
    refused(|project| project.rules.push(rule), |_| {})
}

#[test]
fn api_disabled() {
    let body = error(
        403,
        "PERMISSION_DENIED",
        "Service Usage API has not been used in project 123 before or it is disabled.",
        info("SERVICE_DISABLED", json!({"service": "serviceusage.googleapis.com"})),
    );
    insta::assert_snapshot!(refused_by(rule("GET", "batchGet", ALWAYS, 403, body)));
}

#[test]
fn permission_missing() {
    let message = "Required \"container.clusters.create\" permission(s) for \"projects/my-project\".";
    let body = error(403, "PERMISSION_DENIED", message, json!([]));
    insta::assert_snapshot!(refused_by(rule("POST", "/clusters", ALWAYS, 403, body)));
}

#[test]
fn billing_off() {
    let body = error(
        400,
        "FAILED_PRECONDITION",
        "Billing account for project '123' is not found. Billing must be enabled for activation of service(s) \
         'container.googleapis.com' to proceed.",
        info("UREQ_PROJECT_BILLING_NOT_FOUND", json!({})),
    );
    insta::assert_snapshot!(refused_by(rule("POST", "batchEnable", ALWAYS, 400, body)));
}

#[test]
fn quota_read_before_anything_is_made() {
    let little = |project: &mut Project| project.quotas[0] = ("CPUS".into(), 8.0, 6.0);
    insta::assert_snapshot!(refused(little, |site| site.desired.workers = 10));
}

#[test]
fn quota_exceeded_at_the_request() {
    let message = "Insufficient regional quota to satisfy request: resource \"SSD_TOTAL_GB\": request requires \
                   '300.0' and is short '50.0'.";
    let body = error(403, "PERMISSION_DENIED", message, json!([]));
    insta::assert_snapshot!(refused_by(rule("POST", "/clusters", ALWAYS, 403, body)));
}

/// Filestore's way: the status and the reason of too many calls, of which the first refusal would be waited out.
#[test]
fn quota_exceeded_with_the_status_of_a_rate_limit() {
    let message =
        "Quota limit 'StandardStorageGbPerRegion' has been exceeded. Limit: 0 in region us-central1.";
    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com",
         "metadata": {"quota_limit": "StandardStorageGbPerRegion"}},
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"subject": "project:1", "description": message}]},
    ]);
    let body = error(429, "RESOURCE_EXHAUSTED", message, details);
    insta::assert_snapshot!(refused_by(rule("POST", "/instances", 1, 429, body)));
}

#[test]
fn quota_exceeded_in_the_operation() {
    let failing = |project: &mut Project| {
        project.outcomes.push_back(Outcome::Done);
        let why =
            "Quota limit 'StandardStorageGbPerRegion' has been exceeded. Limit: 0 in region us-central1.";
        project.outcomes.push_back(Outcome::Failed(why.into()));
    };
    insta::assert_snapshot!(refused(failing, |_| {}));
}

#[test]
fn quotas_of_disks_and_addresses_are_read_before_anything_is_made() {
    let standard = |site: &mut Site| {
        site.desired.mode = Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s: 15 };
    };
    let quota = |name: &str, limit: f64| {
        let name = name.to_owned();
        refused(move |project| project.quotas.push((name, limit, 0.0)), standard)
    };
    insta::assert_snapshot!([quota("SSD_TOTAL_GB", 250.0), quota("IN_USE_ADDRESSES", 3.0)].join("\n"));
}

/// Machines that leave their pods 105 s.
fn of_patient_machines(site: &mut Site) {
    site.desired.mode = Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s: 105 };
}

#[test]
fn more_grace_than_the_kubernetes_of_new_clusters_gives() {
    let of_1_34 = |project: &mut Project| project.kubernetes = "1.34.4-gke.1047000".into();
    insta::assert_snapshot!(refused(of_1_34, of_patient_machines));
}

#[test]
fn no_network_of_that_name() {
    let message = "Project \"my-project\" has no network named \"default\".";
    let body = error(400, "INVALID_ARGUMENT", message, json!([]));
    insta::assert_snapshot!(refused_by(rule("POST", "/clusters", 1, 400, body)));
}

#[test]
fn no_network_of_that_name_as_the_operation_tells_it() {
    let failing = |project: &mut Project| {
        project.outcomes.push_back(Outcome::Done);
        project.outcomes.push_back(Outcome::Failed("Network \"default\" does not exist.".into()));
    };
    insta::assert_snapshot!(refused(failing, |_| {}));
}

#[test]
fn a_proxy_that_wants_a_log_in() {
    let body = "<html>Proxy Authentication Required</html>".to_owned();
    insta::assert_snapshot!(refused_by(rule("GET", "batchGet", 1, 407, body)));
}

#[test]
fn a_log_in_without_a_quota_project() {
    let message = "Your application is authenticating by using local Application Default Credentials. The \
                   serviceusage.googleapis.com API requires a quota project, which is not set by default.";
    let details = info(
        "SERVICE_DISABLED",
        json!({"service": "serviceusage.googleapis.com", "consumer": "projects/764086051850"}),
    );
    let body = error(403, "PERMISSION_DENIED", message, details);
    insta::assert_snapshot!(refused_by(rule("GET", "batchGet", 1, 403, body)));
}

#[test]
fn region_unknown() {
    let elsewhere = |site: &mut Site| {
        site.desired.region = "us-central9".into();
        site.desired.zone = Some("us-central9-b".into());
    };
    insta::assert_snapshot!(refused(|_| {}, elsewhere));
}

#[test]
fn zone_unknown() {
    insta::assert_snapshot!(refused(|_| {}, |site| site.desired.zone = Some("us-central1-z".into())));
}

#[test]
fn zone_outside_of_the_region() {
    insta::assert_snapshot!(refused(|_| {}, |site| site.desired.zone = Some("us-east1-b".into())));
}

#[test]
fn tier_and_zone_mismatch() {
    insta::assert_snapshot!(refused(|_| {}, |site| site.desired.tier = Tier::Enterprise));
}

#[test]
fn no_machine_to_work_on() {
    insta::assert_snapshot!(refused(
        |_| {},
        |site| {
            site.desired.mode =
                Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 0, grace_s: 15 };
        }
    ));
}

#[test]
fn capacity_too_small() {
    insta::assert_snapshot!(refused(|_| {}, |site| site.desired.capacity_gib = 100));
}

#[test]
fn name_taken_by_a_cluster_without_our_labels() {
    let taken = |project: &mut Project| {
        project.apis.insert("container.googleapis.com".into());
        project.clusters.insert(
            ("us-central1".into(), "batch-aiml".into()),
            json!({"name": "batch-aiml", "location": "us-central1", "status": "RUNNING", "autopilot": {"enabled": true}}),
        );
    };
    insta::assert_snapshot!(refused(taken, |_| {}));
}

/// An instance of ours as the stand-in has it.
fn instance(change: impl FnOnce(&mut Value)) -> impl FnOnce(&mut Project) {
    let mut made = json!({
        "name": "projects/my-project/locations/us-central1-b/instances/batch-aiml-filestore",
        "state": "READY",
        "tier": "BASIC_HDD",
        "fileShares": [{"name": "NFSVol", "capacityGb": "1024"}],
        "networks": [{"network": "default", "ipAddresses": ["10.0.0.2"]}],
        "labels": {"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"},
    });
    change(&mut made);
    move |project: &mut Project| {
        project.apis.insert("file.googleapis.com".into());
        project.filestores.insert(("us-central1-b".into(), "batch-aiml-filestore".into()), made);
    }
}

#[test]
fn what_is_there_differs() {
    let ssd = instance(|made| made["tier"] = json!("BASIC_SSD"));
    insta::assert_snapshot!(refused(ssd, |_| {}));
}

#[test]
fn a_broken_instance_that_may_hold_results() {
    let broken = instance(|made| made["state"] = json!("ERROR"));
    insta::assert_snapshot!(refused(broken, |_| {}));
}

#[test]
fn already_deployed_elsewhere() {
    let elsewhere = |project: &mut Project| {
        project.apis.insert("container.googleapis.com".into());
        project.clusters.insert(
            ("europe-west1".into(), "batch-aiml".into()),
            json!({
                "name": "batch-aiml", "location": "europe-west1", "status": "RUNNING",
                "resourceLabels": {"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"},
            }),
        );
    };
    insta::assert_snapshot!(refused(elsewhere, |_| {}));
}

#[test]
fn a_location_that_does_not_answer() {
    let silent = |project: &mut Project| {
        project.apis.extend(cloud::gke::plan::APIS.map(str::to_owned));
        project.silent = vec!["us-central1-b".into()];
    };
    insta::assert_snapshot!(refused(silent, |_| {}));
}

#[test]
fn token_expired_in_the_middle() {
    let body = error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", json!([]));
    insta::assert_snapshot!(refused_by(rule("GET", "/operations/", ALWAYS, 401, body)));
}

/// Making machines takes the right to act as what they run as.
#[test]
fn permission_missing_on_the_machines_service_account() {
    let message = "The user does not have access to service account \"default\". Ask a project owner to grant you \
                   the iam.serviceAccountUser role on the service account.";
    let body = error(400, "INVALID_ARGUMENT", message, json!([]));
    insta::assert_snapshot!(refused_by(rule("POST", "/clusters", ALWAYS, 400, body)));
}

#[test]
fn too_many_requests_for_longer_than_patience_lasts() {
    let body = error(429, "RESOURCE_EXHAUSTED", "Too many requests.", json!([]));
    insta::assert_snapshot!(refused_by(rule("POST", "/instances", ALWAYS, 429, body)));
}

#[test]
fn too_many_requests_for_a_while_is_waited_out() {
    let body = error(429, "RESOURCE_EXHAUSTED", "Too many requests.", json!([]));
    runtime().block_on(async {
        let world = World::start().await;
        let mut project = Project::new("my-project");
        project.rules.push(rule("POST", "/clusters", 3, 429, body));
        let site = world.project(project);
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
    });
}

/// What the catalogue gives after `rule`, and what is said where it gives nothing.
fn catalog(rule: Rule) -> Result<usize, String> {
    runtime().block_on(async {
        let world = World::start().await;
        let mut project = Project::new("my-project");
        project.apis.insert("cloudbilling.googleapis.com".into());
        project.skus = tests::standin::skus();
        project.rules.push(rule);
        world.project(project).google.skus().await.map(|skus| skus.len()).map_err(shown)
    })
}

#[test]
fn the_billing_catalogue_is_waited_for_a_while() {
    let busy = || {
        error(
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded for quota metric 'All requests' per minute.",
            json!([]),
        )
    };
    let undisturbed = catalog(rule("GET", "nowhere", ALWAYS, 429, busy())).unwrap();
    assert!(undisturbed > 30, "{undisturbed}");
    assert_eq!(catalog(rule("GET", "/skus", 3, 429, busy())), Ok(undisturbed));
    let page = || "<html><title>502 Bad Gateway</title></html>".to_owned();
    assert_eq!(catalog(rule("GET", "/skus", 1, 502, page())), Ok(undisturbed));
    let denied = error(403, "PERMISSION_DENIED", "The caller does not have permission", json!([]));
    let words = "Cloud Billing API has not been used in project 123 before or it is disabled.";
    let disabled = error(403, "PERMISSION_DENIED", words, json!([]));
    let shown = [
        catalog(rule("GET", "/skus", ALWAYS, 429, busy())),
        catalog(rule("GET", "/skus", ALWAYS, 403, denied)),
        catalog(rule("GET", "/skus", ALWAYS, 403, disabled)),
    ];
    insta::assert_snapshot!(shown.map(Result::unwrap_err).join("\n\n"));
}

#[test]
fn server_errors_for_longer_than_patience_lasts() {
    let body = "<html><title>502 Bad Gateway</title></html>".to_owned();
    insta::assert_snapshot!(refused_by(rule("GET", "/clusters", ALWAYS, 502, body)));
}

#[test]
fn no_answer_for_longer_than_patience_lasts() {
    let slow = |project: &mut Project| {
        project.schedule = (0..100).map(|request| (request, Fault::Slow { done: false })).collect();
    };
    insta::assert_snapshot!(refused(slow, |_| {}));
}

#[test]
fn the_operation_ends_in_an_error() {
    let failing = |project: &mut Project| {
        project.outcomes.push_back(Outcome::Done);
        project.outcomes.push_back(Outcome::Failed("Not all instances running in IGM after 35m.".into()));
    };
    insta::assert_snapshot!(refused(failing, |_| {}));
}

#[test]
fn the_operation_ends_for_want_of_machines() {
    let failing = |project: &mut Project| {
        let why =
            "[GCE_STOCKOUT]: Instance creation failed: The zone does not have enough resources available.";
        project.outcomes.push_back(Outcome::Done);
        project.outcomes.push_back(Outcome::Failed(why.into()));
    };
    insta::assert_snapshot!(refused(failing, |site| {
        site.desired.mode = Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 2, grace_s: 15 };
    }));
}

#[test]
fn a_cluster_stuck_in_provisioning() {
    insta::assert_snapshot!(refused(
        |project| {
            project.apis.extend(cloud::gke::plan::APIS.map(str::to_owned));
            project.looks = usize::MAX;
        },
        |_| {}
    ));
}

/// Agrees to the plan; then the cluster breaks, and to its being replaced nobody agrees.
struct Wavers<'a> {
    site: &'a Site,
    asked: usize,
}

impl Prompt<Plan> for Wavers<'_> {
    async fn confirm(&mut self, _plan: &Plan) -> bool {
        self.asked += 1;
        self.asked == 1
    }

    fn show(&mut self, line: &str) {
        if line == "making the volume and Redis" {
            self.site.with(|project| {
                project.clusters.values_mut().for_each(|cluster| cluster["status"] = json!("ERROR"));
            });
        }
    }
}

#[test]
fn replacing_what_broke_is_not_agreed_to() {
    runtime().block_on(async {
        let world = World::start().await;
        let site = world.project(Project::new("my-project"));
        let ended = site.deploy_asking(&mut Wavers { site: &site, asked: 0 }).await;
        let Ended::With(Err(error)) = ended else { panic!("{ended:?}") };
        insta::assert_snapshot!(shown(error));
    });
}

/// Deploys well, then destroys with something in the way.
fn left(prepare: impl FnOnce(&mut Project)) -> String {
    runtime().block_on(async {
        let world = World::start().await;
        let site = world.project(Project::new("my-project"));
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.with(prepare);
        match site.destroy().await {
            Ended::With(Err(error)) => shown(error),
            ended => format!("{ended:?}"),
        }
    })
}

#[test]
fn what_destroy_could_not_delete_is_named() {
    let body =
        error(403, "PERMISSION_DENIED", "Required \"file.instances.delete\" permission(s).", json!([]));
    insta::assert_snapshot!(left(|project| project.rules.push(rule(
        "DELETE",
        "/instances",
        ALWAYS,
        403,
        body
    ))));
}

/// What Google answers while it repairs a cluster or upgrades it.
fn repairing(times: usize) -> Rule {
    let message = "Operation operation-7 is currently repairing cluster batch-aiml. Please wait and try again once it \
                   is done.";
    rule("DELETE", "/clusters", times, 400, error(400, "FAILED_PRECONDITION", message, json!([])))
}

#[test]
fn a_cluster_that_google_repairs_is_waited_for_longer_than_patience_lasts() {
    let ended = left(|project| project.rules.push(repairing(100)));
    assert_eq!(ended, "With(Ok(Proof { foreign: [], unlisted: [], kept: [] }))");
}

#[test]
fn a_cluster_that_google_never_stops_to_repair_is_named() {
    insta::assert_snapshot!(left(|project| project.rules.push(repairing(ALWAYS))));
}

#[test]
fn a_right_that_lacks_is_not_waited_for_behind_a_busy_cluster() {
    let refusal = error(403, "PERMISSION_DENIED", "Required \"file.instances.delete\".", json!([]));
    let said = left(|project| {
        project.rules.extend([repairing(ALWAYS), rule("DELETE", "/instances", ALWAYS, 403, refusal)]);
    });
    assert!(said.contains("file.instances.delete") && said.contains("roles/file.editor"), "{said}");
}

#[test]
fn what_destroy_could_not_ask_is_named() {
    insta::assert_snapshot!(left(|project| project.silent = vec!["europe-west4-a".into()]));
}

#[test]
fn a_disk_that_is_still_attached_is_named() {
    insta::assert_snapshot!(left(|project| {
        let disk = json!({
            "name": "by-hand", "zone": "us-central1-b", "users": ["a-machine"],
            "labels": {"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"},
        });
        project.disks.insert(("us-central1-b".into(), "by-hand".into()), disk);
    }));
}

/// Deploys without a fault, then destroys while one secondary read always fails: destroy deletes all that it can
/// see, and reports the rest.
fn unasked(rule: Rule) -> String {
    runtime().block_on(async {
        let world = World::start().await;
        let mut project = Project::new("my-project");
        project.apis.insert("artifactregistry.googleapis.com".into());
        let site = world.project(project);
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        site.with(|project| project.rules.push(rule));
        let Ended::With(Err(error)) = site.destroy().await else { panic!("it can't be proved") };
        assert_eq!(site.with(|project| project.labelled("batch-aiml")), Vec::<String>::new());
        shown(error)
    })
}

#[test]
fn destroy_without_the_right_to_list_disks_deletes_the_rest() {
    let message = "Required 'compute.disks.list' permission for 'projects/my-project'";
    let body = error(403, "PERMISSION_DENIED", message, json!([]));
    insta::assert_snapshot!(unasked(rule("GET", "/aggregated/disks", ALWAYS, 403, body)));
}

#[test]
fn destroy_with_one_registry_out_of_order_deletes_the_rest() {
    let body = error(503, "UNAVAILABLE", "The service is currently unavailable.", json!([]));
    insta::assert_snapshot!(unasked(rule("GET", "/europe-west1/repositories", ALWAYS, 503, body)));
}

/// Only `cloud image` needs it, as docs/gcp.md says.
#[test]
fn deploy_needs_no_right_to_image_repositories() {
    let message = "Permission 'artifactregistry.repositories.list' denied.";
    let body = error(403, "PERMISSION_DENIED", message, json!([]));
    runtime().block_on(async {
        let world = World::start().await;
        let mut project = Project::new("my-project");
        project.apis.insert("artifactregistry.googleapis.com".into());
        project.rules.push(rule("GET", "/repositories", ALWAYS, 403, body));
        let site = world.project(project);
        let ended = site.deploy().await;
        assert!(matches!(ended, Ended::With(Ok(_))), "{ended:?}");
    });
}
