//! A bucket as the volume: what is sent, what is refused, and what comes of files on a bad line.

use std::collections::BTreeMap;

use cloud::error::{Error, Kind};
use cloud::gke::gcp::Upload;
use cloud::gke::plan::{Mode, Step};
use cloud::gke::reason::explain;
use cloud::gke::volume::BucketVolume;
use cloud::k8s::cluster::{Cluster as _, JobState, ResultFile};
use cloud::k8s::with_bucket::BucketFiles as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tests::standin::{Bucket, Fault, Project, Rule};
use worker::contract::FORMAT_VERSION;
use worker::failure::Failure;

use crate::harness::{Ended, Site, World, runtime};

const BUCKET: &str = "my-project-batch-aiml";

fn in_a_project(prepare: impl FnOnce(&mut Project), story: impl AsyncFnOnce(Site)) {
    runtime().block_on(async {
        let world = World::start().await;
        let mut project = Project::new("my-project");
        prepare(&mut project);
        story(world.project(project).with_work().with_bucket()).await;
    });
}

/// As the command prints it.
fn shown(error: Error) -> String {
    Failure::from(explain(error)).shown()
}

/// As Cloud Storage says it, which gives no canonical code.
fn refusal(method: &'static str, path: &'static str, status: u16, message: &str) -> Rule {
    let body = json!({"error": {"code": status, "message": message}}).to_string();
    Rule { method, path, times: usize::MAX, status, body }
}

fn bucket<T>(site: &Site, look: impl FnOnce(&mut Bucket) -> T) -> T {
    site.with(|project| look(project.buckets.get_mut(BUCKET).unwrap()))
}

#[test]
fn the_requests_of_a_bucket() {
    in_a_project(
        |_| {},
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            bucket(&site, |bucket| {
                bucket.resource["versioning"] = json!({"enabled": true});
                bucket.put("volume/output/report.txt", b"a report", json!({}));
                bucket.put("volume/output/report.txt", b"another", json!({}));
                bucket.uploads.insert("upload-1".into(), "volume/a model & more.bin".into());
            });
            assert!(matches!(site.destroy().await, Ended::With(Ok(_))));
            let mut sent = Vec::new();
            for request in site.with(|project| project.writes().into_iter().cloned().collect::<Vec<_>>()) {
                let body = match &request.body {
                    Value::Null => String::new(),
                    // The datasets' own bytes, some of which are JSON.
                    _ if request.method == "PUT" && request.target.starts_with("/upload") => String::new(),
                    body => format!(" {body}"),
                };
                sent.push(format!("{} {}{body}\n", request.method, request.target));
            }
            // They go side by side.
            let is_of_object = |line: &String| line.starts_with("DELETE") && line.contains("/o/");
            for lines in sent.chunk_by_mut(|one, next| is_of_object(one) && is_of_object(next)) {
                lines.sort();
            }
            insta::assert_snapshot!(sent.concat());
        },
    );
}

#[test]
fn a_second_deploy_changes_nothing_and_one_with_other_datasets_stages_them() {
    in_a_project(
        |_| {},
        async |mut site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            let writes = site.with(|project| project.writes().len());
            let Ended::With(Ok(plan)) = site.plan().await else { panic!("all is there") };
            assert_eq!(plan.next(), Step::Done);
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            assert_eq!(site.with(|project| project.writes().len()), writes);
            site.with(Project::finish_job);
            site.change_a_dataset();
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            let day = "volume/datasets/training/2018-04-01.pkl";
            let days: Vec<_> = bucket(&site, |bucket| {
                let days = bucket.objects.iter().filter(|((name, _), _)| name == day);
                days.map(|(_, stored)| stored.bytes.clone()).collect()
            });
            assert_eq!(days, [b"changed"]);
        },
    );
}

#[test]
fn a_standard_clusters_pods_get_identities() {
    in_a_project(
        |_| {},
        async |mut site| {
            site.desired.mode =
                Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 1, grace_s: 15 };
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            site.with(|project| {
                let made = project.clusters.values().next().unwrap();
                assert_eq!(made["workloadIdentityConfig"]["workloadPool"], "my-project.svc.id.goog");
                let modes = made["nodePools"].as_array().unwrap().iter().map(|pool| {
                    // GKE_METADATA; Google's crates send numbers.
                    pool["config"]["workloadMetadataConfig"]["mode"] == 2
                });
                assert_eq!(modes.collect::<Vec<_>>(), [true, true]);
                for made in project.clusters.values_mut() {
                    made.as_object_mut().unwrap().remove("workloadIdentityConfig");
                }
            });
            let Ended::With(Err(error)) = site.deploy().await else { panic!("its pods get no access") };
            assert_eq!(error.kind, Kind::Differs);
        },
    );
}

/// What a deploy says, after `prepare`.
fn refused(prepare: impl FnOnce(&mut Project)) -> String {
    let mut said = String::new();
    in_a_project(prepare, async |site| {
        said = match site.deploy().await {
            Ended::With(Err(error)) => shown(error),
            ended => format!("{ended:?}"),
        };
    });
    said
}

#[test]
fn what_stands_against_a_bucket_is_said_with_what_to_do() {
    let mut text = String::new();
    let mut say = |what: &str, said: String| text += &format!("== {what}\n{said}\n\n");
    let taken = |project: &mut Project| project.taken_names.extend([BUCKET.to_owned()]);
    say("another project's name", refused(taken));
    let ours_by_name = |project: &mut Project| {
        project.apis.insert("storage.googleapis.com".into());
        let resource = json!({"name": BUCKET, "location": "US-CENTRAL1"});
        project.buckets.insert(BUCKET.into(), Bucket::new(resource));
    };
    say("somebody's bucket in the project", refused(ours_by_name));
    let no_right = "me@example.com does not have storage.buckets.create access to the Google Cloud project. Permission \
                    'storage.buckets.create' denied on resource (or it may not exist).";
    say("no right to make one", refused(|p| p.rules.push(refusal("POST", "/storage/v1/b", 403, no_right))));
    let policy = "'us-central1' violates constraint 'constraints/gcp.resourceLocations' on the resource.";
    say("not in this region", refused(|p| p.rules.push(refusal("POST", "/storage/v1/b", 412, policy))));
    let soft = "Value '0' for softDeletePolicy.retentionDurationSeconds violates constraint \
                'constraints/storage.softDeletePolicySeconds'.";
    say(
        "the organisation keeps what is deleted",
        refused(|p| p.rules.push(refusal("POST", "/storage/v1/b", 412, soft))),
    );
    in_a_project(
        |_| {},
        async |mut site| {
            site.desired.bucket = Some("My.Bucket".into());
            let Ended::With(Err(error)) = site.deploy().await else { panic!("that is no name") };
            say("no name of a bucket", shown(error));
        },
    );
    in_a_project(
        |_| {},
        async |mut site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            site.desired.storage = cloud::gke::plan::Storage::Filestore;
            let Ended::With(Err(error)) = site.deploy().await else { panic!("the volume is a bucket") };
            say("a Filestore where a bucket is", shown(error));
        },
    );
    in_a_project(
        |_| {},
        async |mut site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            site.desired.bucket = Some("another-name".into());
            let Ended::With(Err(error)) = site.deploy().await else { panic!("it has one") };
            say("a second bucket", shown(error));
        },
    );
    in_a_project(
        |_| {},
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            bucket(&site, |bucket| bucket.objects.values_mut().for_each(|stored| stored.is_held = true));
            let Ended::With(Err(error)) = site.destroy().await else { panic!("it can't be deleted") };
            say("a retention policy", shown(error));
        },
    );
    insta::assert_snapshot!(text);
}

/// A right that is missed on the way down: the rest goes, and the bucket is named.
#[test]
fn destroy_names_a_bucket_that_it_may_not_list() {
    in_a_project(
        |_| {},
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            let message = "Permission 'storage.buckets.list' denied.";
            site.with(|project| project.rules.push(refusal("GET", "/storage/v1/b", 403, message)));
            let Ended::With(Err(error)) = site.destroy().await else { panic!("it can't be proved") };
            assert!(
                error.why.contains("bucket in all locations") && error.why.contains("roles/storage.admin"),
                "{error}"
            );
            assert_eq!(site.with(|project| project.labelled("batch-aiml")).len(), 1);
        },
    );
}

/// A deployment with Filestore takes no right to list buckets: that none was looked for is said.
#[test]
fn destroy_of_a_filestore_takes_no_right_to_list_buckets() {
    runtime().block_on(async {
        let world = World::start().await;
        let mut project = Project::new("my-project");
        project.apis.insert("storage.googleapis.com".into());
        project.rules.push(refusal("GET", "/storage/v1/b", 403, "Permission 'storage.buckets.list' denied."));
        let site = world.project(project);
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        let Ended::With(Ok(proof)) = site.destroy().await else { panic!("nothing is left") };
        assert_eq!(site.with(|project| project.labelled("batch-aiml")), [""; 0]);
        let unlisted: Vec<_> = proof.unlisted.iter().map(|unlisted| unlisted.resource.noun()).collect();
        assert_eq!(unlisted, ["bucket"]);
    });
}

/// On another machine the state is not there, but the cluster says where its volume is.
#[test]
fn a_bucket_that_another_machine_made_is_not_forgotten() {
    in_a_project(
        |_| {},
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            site.lose_memory();
            let message = "Permission 'storage.buckets.list' denied.";
            site.with(|project| project.rules.push(refusal("GET", "/storage/v1/b", 403, message)));
            let Ended::With(Err(error)) = site.destroy().await else { panic!("it can't be proved") };
            assert!(error.why.contains("bucket in all locations"), "{error}");
        },
    );
}

/// Nothing is paid for until the bucket is there: its name may be somebody else's.
#[test]
fn a_name_that_is_taken_is_known_before_there_is_a_cluster() {
    in_a_project(
        |project| project.taken_names.extend([BUCKET.to_owned()]),
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Err(_))));
            assert_eq!(site.with(|project| project.labelled("batch-aiml")), [""; 0]);
        },
    );
}

/// Its name may be somebody else's by now.
#[test]
fn a_bucket_without_the_deployments_labels_is_never_emptied() {
    in_a_project(
        |_| {},
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            let there = bucket(&site, |bucket| {
                bucket.resource["labels"] = json!({"batch-deployment": "batch-aiml"});
                bucket.objects.len()
            });
            site.google.delete_bucket(BUCKET, "batch-aiml", "volume/staged", &mut |_| {}).await.unwrap();
            assert_eq!(bucket(&site, |bucket| bucket.objects.len()), there);
        },
    );
}

/// It goes all the same, and what that costs is said.
#[test]
fn a_bucket_whose_deleted_objects_the_organisation_keeps_is_deleted() {
    in_a_project(
        |_| {},
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            let week = json!({"retentionDurationSeconds": "604800"});
            bucket(&site, |bucket| bucket.resource["softDeletePolicy"] = week);
            let why = "Value '0' violates constraint 'constraints/storage.softDeletePolicySeconds'.";
            site.with(|project| project.rules.push(refusal("PATCH", "/storage/v1/b", 412, why)));
            let Ended::With(Ok(proof)) = site.destroy().await else { panic!("nothing can be done about it") };
            let kept: Vec<_> = proof.kept.iter().map(|(kept, until)| (&*kept.name, &**until)).collect();
            assert_eq!(kept, [(BUCKET, "2026-12-01T00:00:00Z")]);
            assert!(site.with(|project| project.buckets.is_empty()));
        },
    );
}

/// A disabled API is no proof, also where the answer to the request for the bucket was lost.
#[test]
fn a_bucket_that_was_asked_for_is_not_forgotten() {
    in_a_project(
        |project| project.apis.extend(cloud::gke::plan::Storage::Gcs.apis().map(str::to_owned)),
        async |site| {
            // Each request in turn is the last that is answered, until one made the bucket.
            for number in 0..20 {
                site.with(|project| {
                    project.schedule.insert(project.requests + number, Fault::Interrupt { done: true });
                });
                site.deploy().await;
                if site.with(|project| project.buckets.contains_key(BUCKET)) {
                    break;
                }
            }
            site.with(|project| {
                assert!(project.buckets.contains_key(BUCKET));
                project.apis.remove("storage.googleapis.com");
                project.schedule.clear();
            });
            let Ended::With(Err(error)) = site.destroy().await else { panic!("it can't be proved") };
            assert!(error.why.contains("storage.googleapis.com is not enabled"), "{error}");
        },
    );
}

#[test]
fn results_come_straight_from_the_bucket() {
    in_a_project(
        |_| {},
        async |site| {
            let Ended::With(Ok((cluster, _))) = site.deploy().await else { panic!("nothing is in the way") };
            let report = vec![7_u8; (8 << 20) + 3];
            bucket(&site, |bucket| {
                bucket.put("volume/output/report.txt", b"a report", json!({}));
                bucket.put("volume/output/models/latest model", &report, json!({}));
                bucket.put("volume/output/empty", b"", json!({}));
                bucket.put("volume/outputs", b"not one", json!({}));
            });
            let out = tempfile::tempdir().unwrap();
            let results = cluster.results("batch-aiml").await.unwrap();
            cluster.fetch("batch-aiml", &results, out.path()).await.unwrap();
            let fetched = tests::command::files(&out.path().join("output"));
            let fetched: BTreeMap<_, _> =
                fetched.iter().map(|(path, bytes)| (path.to_str().unwrap(), bytes.as_slice())).collect();
            assert_eq!(
                fetched,
                [("empty", &b""[..]), ("models/latest model", &report[..]), ("report.txt", &b"a report"[..])]
                    .into()
            );

            let state = cluster.observe("batch-aiml").await.unwrap().job.map(|job| job.state);
            assert_eq!(state, Some(JobState::Running));
            let event = |seq, at_ms| {
                let what = worker::events::What::Stopping;
                let event = worker::events::Event {
                    v: FORMAT_VERSION,
                    at_ms,
                    worker: "workload-0".into(),
                    seq,
                    what,
                };
                serde_json::to_string(&event).unwrap() + "\n"
            };
            bucket(&site, |bucket| {
                bucket.put(
                    "volume/runs/run/events/workload-0-1f.jsonl",
                    event(0, 1_000).as_bytes(),
                    json!({}),
                );
                bucket.put(
                    "volume/runs/run/events/workload-0-1f_000001.jsonl",
                    event(1, 91_500).as_bytes(),
                    json!({}),
                );
            });
            let usage = cluster.usage("batch-aiml").await.unwrap();
            let seconds: Vec<_> = usage.iter().map(|used| (used.pod.as_str(), used.seconds)).collect();
            assert_eq!(seconds, [("workload-0", 91)]);
            // Without its cluster, what would be lost is known all the same.
            site.with(|project| project.clusters.clear());
            let volume = BucketVolume::new(&site.google, BUCKET);
            assert_eq!(volume.results().await.unwrap(), results);
            bucket(&site, |bucket| bucket.put("volume/output/report.txt", b"another", json!({})));
            let other: Vec<ResultFile> = volume.results().await.unwrap();
            assert_ne!(other, results, "a result that was replaced was not fetched");
        },
    );
}

/// Whatever happens to whichever request, what arrives is what was sent.
#[test]
fn a_large_file_arrives_whole_on_a_bad_line() {
    let faults = [
        Fault::Cut { done: true },
        Fault::Cut { done: false },
        Fault::Unavailable { done: true },
        Fault::Slow { done: false },
        Fault::TooMany,
    ];
    in_a_project(
        |_| {},
        async |site| {
            assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
            let folder = tempfile::tempdir().unwrap();
            let (path, content) = (folder.path().join("large"), vec![9_u8; (8 << 20) + 5]);
            std::fs::write(&path, &content).unwrap();
            let sha256 = hex::encode(Sha256::digest(&content));
            for (number, fault) in faults.into_iter().enumerate() {
                // The session, the first piece, the second.
                for request in 0..3 {
                    let name = format!("large-{number}-{request}");
                    let upload =
                        Upload { name: &name, bytes: content.len() as u64, sha256: &sha256, replaces: "0" };
                    site.with(|project| project.schedule.insert(project.requests + request, fault));
                    site.google.upload_file(BUCKET, upload, &path).await.unwrap();
                    let object = site.google.objects(BUCKET, &name).await.unwrap().remove(0);
                    site.with(|project| project.schedule.insert(project.requests + request, fault));
                    let mut read = Vec::new();
                    let keep = async |bytes: bytes::Bytes| {
                        read.extend(bytes);
                        Ok(())
                    };
                    site.google.read_object(BUCKET, &object, keep).await.unwrap();
                    assert!(read == content, "{fault:?} of request {request}");
                    site.with(|project| project.schedule.clear());
                }
            }
            let changed = Upload { name: "changed", bytes: 3, sha256: &sha256, replaces: "0" };
            std::fs::write(&path, "new").unwrap();
            assert!(site.google.upload_file(BUCKET, changed, &path).await.is_err());
            assert_eq!(site.google.objects(BUCKET, "changed").await.unwrap(), []);
            let again = Upload {
                name: "large-0-0",
                bytes: 3,
                sha256: &hex::encode(Sha256::digest("new")),
                replaces: "0",
            };
            let error = site.google.upload_file(BUCKET, again, &path).await.unwrap_err();
            assert_eq!(error.kind, Kind::Exists, "nothing is replaced that was not seen");
        },
    );
}
