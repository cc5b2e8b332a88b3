//! What each command prints, and its exit code.

use serde_json::{Value, json};
use tests::command::transcript;
use tests::standin::{Bucket, Project, Standin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::program::Cloud;

/// Runs the program on a project after `prepare`, and gives what it printed and what is then in the project.
fn ran<T>(
    prepare: impl FnOnce(&mut Project),
    arguments: &[&str],
    look: impl FnOnce(&mut Project) -> T,
) -> (String, T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let standin = Standin::start().await.unwrap();
        let mut project = Project::new("my-project");
        prepare(&mut project);
        standin.add(project);
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::new(&standin, "token", folder.path().to_owned());
        let output = cloud.output(arguments).await;
        let printed = transcript(&output).replace(&folder.path().to_string_lossy().into_owned(), "[folder]");
        (printed, standin.with("my-project", look))
    })
}

fn printed(arguments: &[&str]) -> String {
    ran(|_| {}, arguments, |_| {}).0
}

/// The writes that a command made.
fn writes(project: &mut Project) -> usize {
    project.writes().len()
}

#[test]
fn plan_of_an_empty_project_reads_and_writes_nothing() {
    let (printed, writes) = ran(|_| {}, &["plan"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

#[test]
fn a_bucket_in_place_of_filestore() {
    let made = |project: &mut Project| {
        project.apis.extend(cloud::gke::plan::Storage::Gcs.apis().map(str::to_owned));
        let labels = json!({"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"});
        let resource = json!({"name": "my-project-batch-aiml", "location": "US-CENTRAL1", "labels": labels,
                              "timeCreated": "2026-11-24T00:00:00Z"});
        let mut bucket = Bucket::new(resource);
        bucket.put("volume/output/report.txt", b"a report", json!({}));
        project.buckets.insert("my-project-batch-aiml".into(), bucket);
    };
    let of = |arguments: &[&str]| {
        let printed = ran(made, arguments, |_| {}).0;
        // It has been there since then.
        let lines = printed.lines().map(|line| match line.starts_with("cost so far") {
            true => "cost so far …",
            false => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let commands: [&[&str]; 6] = [
        &["plan", "--storage", "gcs"],
        &["cost", "--json"],
        &["status"],
        &["plan"],
        &["destroy"],
        &["destroy", "--yes"],
    ];
    let said = commands.map(|command| format!("$ cloud {}\n{}", command.join(" "), of(command)));
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn plan_for_programs() {
    insta::assert_snapshot!(printed(&["plan", "--json", "--mode", "standard", "--nodes", "3"]));
}

#[test]
fn plan_refuses_what_costs_too_much() {
    insta::assert_snapshot!(printed(&["plan", "--workers", "50", "--max-cost", "1.00"]));
}

/// Nobody is logged in, no project is chosen, and nobody listens.
#[test]
fn plan_offline_asks_nobody() {
    let offline = |arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cloud-under-test"));
        command.args(["plan", "--offline"]).args(arguments).env_clear().current_dir(folder.path());
        transcript(&command.output().unwrap())
    };
    insta::assert_snapshot!(offline(&["--workers", "4"]));
    insta::assert_snapshot!(offline(&["--region", "europe-west1", "--max-cost", "1"]));
    let standard = ["--mode", "standard", "--machine-type", "n9-standard-2"];
    insta::assert_snapshot!(offline(&standard));
    insta::assert_snapshot!(offline(&["--storage", "gcs"]));
    assert!(offline(&["--bucket", "data"]).contains("give --storage gcs too, or leave --bucket out"));
    insta::assert_snapshot!(offline(&["--storage", "gcs", "--region", "europe-west1", "--max-cost", "1"]));
}

#[test]
fn deploy_without_a_terminal_and_without_yes_makes_nothing() {
    let (printed, writes) = ran(|_| {}, &["deploy"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

#[test]
fn deploy_prints_its_plan_for_programs_too() {
    let (printed, writes) = ran(|_| {}, &["deploy", "--json"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

#[test]
fn a_project_must_be_chosen() {
    insta::assert_snapshot!(printed(&["status", "--project", ""]));
}

#[test]
fn status_of_nothing() {
    insta::assert_snapshot!(printed(&["status"]));
}

/// The table has no prices there, and there is no cluster to say where it is.
fn elsewhere(project: &mut Project) {
    half_deployed(project);
    let (_, mut instance) = project.filestores.pop_first().unwrap();
    instance["name"] = json!("projects/my-project/locations/europe-west1-b/instances/batch-aiml-filestore");
    project.filestores.insert(("europe-west1-b".into(), "batch-aiml-filestore".into()), instance);
}

#[test]
fn status_of_what_has_no_price() {
    insta::assert_snapshot!(ran(elsewhere, &["status"], |_| {}).0);
}

#[test]
fn cost_of_what_has_no_price() {
    insta::assert_snapshot!(ran(elsewhere, &["cost"], |_| {}).0);
}

/// A project that may ask for Google's prices.
fn sold(project: &mut Project) {
    project.apis.insert("cloudbilling.googleapis.com".into());
    project.skus = tests::standin::skus();
}

/// The file as `> prices.toml` has it, which `plan` then reads.
#[test]
fn prices_of_another_region_are_read_from_the_catalogue() {
    let targets =
        |project: &mut Project| project.recorded.iter().map(|asked| asked.target.clone()).collect::<Vec<_>>();
    let (said, asked) = ran(sold, &["prices", "--region", "europe-west4"], targets);
    assert!(
        asked.contains(
            &"/v1/services/6F81-5844-456A/skus?currencyCode=USD&pageSize=5000&pageToken=5".to_owned()
        )
    );
    let (code, rest) = said.split_once("\n--- stdout\n").unwrap();
    let (table, told) = rest.split_once("--- stderr\n").unwrap();
    assert_eq!(code, "exit code: 0");
    assert_eq!(
        told,
        "not in the catalogue for europe-west4, so without a price: c3, n2d, n4, t2d, BASIC_SSD, ZONAL\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prices.toml"), table).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cloud-under-test"));
    let plan =
        ["plan", "--offline", "--region", "europe-west4", "--prices", "prices.toml", "--max-cost", "1"];
    command.args(plan).env_clear().current_dir(folder.path());
    let planned = transcript(&command.output().unwrap());
    insta::with_settings!({filters => [(r"\d{4}-\d\d-\d\d", "[today]")]}, {
        insta::assert_snapshot!(planned);
    });
}

#[test]
fn prices_that_cannot_be_had_are_refused() {
    let disabled = ran(|project| project.skus = tests::standin::skus(), &["prices"], |_| {}).0;
    let elsewhere = ran(sold, &["prices", "--region", "mars-north1"], |_| {}).0;
    let renamed = |project: &mut Project| {
        sold(project);
        project.skus.retain(|sku| sku["description"] != "Balanced PD Capacity");
    };
    let renamed = ran(renamed, &["prices"], |_| {}).0;
    insta::assert_snapshot!([disabled, elsewhere, renamed].join("\n\n"));
}

#[test]
fn codes_of_errors_are_explained() {
    insta::assert_snapshot!([printed(&["explain", "B321"]), printed(&["explain", "B1"])].join("\n"));
}

#[test]
fn wrong_command_lines() {
    let lines: [&[&str]; 3] = [&["pln"], &["plan", "--wokers", "4"], &["plan", "--workers", "four"]];
    insta::assert_snapshot!(lines.map(printed).join("\n"));
}

#[test]
fn every_refusal_says_why_once_with_a_code_and_a_hint() {
    let lines = "
        plan --offline --workers 0
        plan --offline --region mars
        plan --offline --tier gold
        plan --offline --prices nowhere
        plan --offline --max-cost cheap
        plan --offline --datasets nowhere --image worker:1
        plan --offline --name A_b
        plan --offline --grace 10m
        plan --offline --max-run-cost 5
        deploy --then-destroy
        logs -x
        fetch --project
        cost --workers x
        image --binary nowhere
        run
        run --nfs nowhere --datasets . --image worker:1
        run --storage nowhere --datasets . --image worker:1
        run --storage s3://b/x --nfs 10.0.0.2:/x --datasets . --image worker:1
        run --storage gs://b/x --storage-secret keys --datasets . --image worker:1
        run --nfs 10.0.0.2:/x --datasets nowhere --image worker:1
        run --down --kubeconfig nowhere
        render
        render --target moon
        render --target kind --out /dev/null
        render --target kind --check --out nowhere
        render --target gke --nfs 10.0.0.2
        explain nosuch
        completions cmd
    ";
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let said = printed(&line.split(' ').collect::<Vec<_>>());
        let count = |begin: &str| said.lines().filter(|line| line.starts_with(begin)).count();
        assert_eq!([count("error"), count("error[B"), count("hint: ")], [1; 3], "{line}: {said}");
    }
}

#[test]
fn logs_of_nothing() {
    insta::assert_snapshot!(printed(&["logs"]));
}

#[test]
fn cost_of_what_is_not_there_yet() {
    insta::assert_snapshot!(printed(&["cost", "--workers", "4"]));
}

#[test]
fn destroy_of_nothing() {
    let (printed, writes) = ran(|_| {}, &["destroy"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

/// A Filestore instance that a deploy left when it was interrupted, with nobody's cluster beside it.
fn half_deployed(project: &mut Project) {
    project.apis.extend(cloud::gke::plan::APIS.map(str::to_owned));
    let labels = json!({"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"});
    let instance = json!({
        "name": "projects/my-project/locations/us-central1-b/instances/batch-aiml-filestore",
        "state": "READY", "tier": "BASIC_HDD", "labels": labels, "createTime": "2026-11-24T00:00:00Z",
        "fileShares": [{"name": "NFSVol", "capacityGb": "1024"}],
        "networks": [{"network": "default", "ipAddresses": ["10.0.0.2"]}],
    });
    project.filestores.insert(("us-central1-b".into(), "batch-aiml-filestore".into()), instance);
    project.clusters.insert(("us-central1".into(), "batch-aiml".into()), cluster(json!({})));
}

fn cluster(labels: Value) -> Value {
    json!({
        "name": "batch-aiml", "location": "us-central1", "status": "RUNNING", "resourceLabels": labels,
        "autopilot": {"enabled": true}, "network": "default", "endpoint": "34.1.2.3",
        "masterAuth": {"clusterCaCertificate": "Y2E="},
    })
}

#[test]
fn destroy_names_what_is_lost_and_what_is_not_touched() {
    let (printed, writes) = ran(half_deployed, &["destroy"], writes);
    assert_eq!(writes, 0, "nobody agreed");
    insta::assert_snapshot!(printed);
}

#[test]
fn destroy_goes_on_where_it_may() {
    let (printed, left) = ran(half_deployed, &["destroy", "--yes"], |project| project.labelled("batch-aiml"));
    assert_eq!(left, Vec::<String>::new());
    insta::assert_snapshot!(printed);
}

#[test]
fn get_credentials_writes_gclouds_names() {
    let ours = |project: &mut Project| {
        half_deployed(project);
        let labels = json!({"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"});
        project.clusters.insert(("us-central1".into(), "batch-aiml".into()), cluster(labels));
    };
    insta::assert_snapshot!(ran(ours, &["get-credentials", "--kubeconfig", "kubeconfig"], |_| {}).0);
}

#[test]
fn a_token_for_kubectl() {
    insta::assert_snapshot!(printed(&["credential"]));
}

/// Much less than the minute for which reads are tried again.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(40);

/// With neither a token nor a log-in, and no machine of Google's around it that would give one.
#[test]
fn plan_without_a_log_in_says_so_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let printed = runtime.block_on(async {
        let standin = Standin::start().await.unwrap();
        standin.add(Project::new("my-project"));
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::new(&standin, "", folder.path().to_owned());
        let mut command = cloud.command(&["plan"]);
        // Nobody listens there.
        command.env("GCE_METADATA_HOST", "127.0.0.1:9").env("HOME", folder.path());
        command.env_remove("GOOGLE_APPLICATION_CREDENTIALS");
        let output = tokio::time::timeout(AT_ONCE, command.output()).await;
        transcript(&output.expect("it is not waited for").unwrap())
    });
    insta::assert_snapshot!(printed);
}

/// As `gcloud auth application-default login` writes it; that names no project where nobody chose one.
#[test]
fn a_persons_log_in_counts_against_the_project() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let standin = Standin::start().await.unwrap();
        let mut project = Project::new("my-project");
        project.apis.extend(cloud::gke::plan::APIS.map(str::to_owned));
        standin.add(project);
        let folder = tempfile::tempdir().unwrap();
        let log_in = json!({
            "type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "refresh",
            "token_uri": standin.token_uri,
        });
        std::fs::write(folder.path().join("log-in.json"), log_in.to_string()).unwrap();
        let cloud = Cloud::new(&standin, "", folder.path().to_owned());
        let mut command = cloud.command(&["plan"]);
        command.env("GOOGLE_APPLICATION_CREDENTIALS", "log-in.json").env_remove("GOOGLE_CLOUD_QUOTA_PROJECT");
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", transcript(&output));
        // Google's crates and the plain requests alike.
        let counted = standin.with("my-project", |project| project.counted_against.clone());
        assert_eq!(counted, ["my-project".to_owned()].into());
    });
}

#[test]
fn manifests_for_gke_take_an_address_and_an_image() {
    let all = ["render", "--target", "gke", "--nfs", "10.0.0.2:/NFSVol", "--image", "worker:1"];
    let refused = [&all[..3], &all[..5]].map(printed);
    insta::assert_snapshot!(refused.join("\n"));
    assert!(printed(&all).contains("manifests/gke/job.yaml"));
}

#[test]
fn run_without_a_cluster() {
    let down = ["run", "--down", "--kubeconfig", "no-such-file"];
    let unfit = ["run", "--nfs", "a:/b", "--image", "w", "--datasets", ".", "--mount-options", "soft"];
    insta::assert_snapshot!([printed(&down), printed(&unfit), printed(&["run"])].join("\n"));
}

/// Replies to requests for the version as an API server of Kubernetes 1.30 does, and returns the first line of
/// each request.
async fn old_server(listener: tokio::net::TcpListener) -> Vec<String> {
    let mut asked = Vec::new();
    while let Ok((mut connection, _)) = listener.accept().await {
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match connection.read(&mut buffer).await.unwrap() {
                0 => break,
                read => request.extend(&buffer[..read]),
            }
        }
        asked.push(String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned());
        let body =
            json!({"major": "1", "minor": "30", "gitVersion": "v1.30.9", "gitCommit": "", "gitTreeState": "",
                          "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
            .to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        connection.write_all((head + &body).as_bytes()).await.unwrap();
        if asked.len() == 2 {
            break;
        }
    }
    asked
}

#[test]
fn run_on_a_kubernetes_that_is_too_old_makes_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let standin = Standin::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        let cloud = Cloud::new(&standin, "", folder.path().to_owned());
        let arguments =
            ["run", "--kubeconfig", "kubeconfig", "--nfs", "a:/b", "--image", "w", "--datasets", "."];
        let serve = tokio::spawn(old_server(listener));
        let output = cloud.output(&arguments).await;
        insta::assert_snapshot!(transcript(&output));
        // One more request, of ours, ends the server: there was one before it.
        let mut last = tokio::net::TcpStream::connect(server.trim_start_matches("http://")).await.unwrap();
        last.write_all(b"GET /last HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(serve.await.unwrap(), ["GET /version HTTP/1.1", "GET /last HTTP/1.1"]);
    });
}

#[test]
fn run_needs_an_export_that_is_one() {
    insta::assert_snapshot!(printed(&["run", "--nfs", "10.0.0.2", "--image", "worker:1", "--datasets", "."]));
}

#[test]
fn datasets_are_looked_for_where_they_are_said_to_be() {
    insta::assert_snapshot!(printed(&["plan", "--datasets", ".", "--image", "worker:1"]));
}

/// What cannot be run is refused before anything is asked of a cluster.
#[test]
fn a_program_that_cannot_be_run_is_refused_at_once() {
    let what = ["run", "--nfs", "10.0.0.2:/NFSVol", "--datasets", "."];
    let lines: [&[&str]; 11] = [
        &["--image", "mine:1", "--", "python3", "train.py"],
        &["--image", "mine:1", "--worker-image", "worker:1"],
        &["--worker-image", "worker:1", "--deterministic"],
        &["--image", "worker:1", "--param", "no-such=1"],
        &["--"],
        &["--image", "mine:1", "--memory", "16"],
        &["--image", "mine:1", "--cpu", "0"],
        &["--image", "mine:1", "--gpu-type", "nvidia-l4"],
        &["--image", "mine:1", "--secret-env", "TOKEN=hub"],
        &["--image", "mine:1", "--node-selector", "pool"],
        &["--image", "mine:1", "--kueue-queue", "Team A", "--grace", "3m"],
    ];
    let refusals = lines.map(|line| printed(&[&what[..], line].concat()));
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn image_needs_a_worker() {
    insta::assert_snapshot!(printed(&["image", "--binary", "no-such-worker"]));
}
