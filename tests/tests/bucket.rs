//! A bucket as the volume: what its server may say and lose, and what the arm of the store makes of it.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloud::k8s::bucket::BucketVolume;
use cloud::k8s::cluster::Datasets;
use cloud::k8s::with_bucket::BucketFiles as _;
use tests::bucket::gcs::Gcs;
use tests::bucket::proxy::{Fault, Proxy};
use tests::bucket::server::{self, Server};
use tests::bucket::{canned, settings, url, variables};
use tests::queue::block_on;
use worker::conformance::all;
use worker::store::bucket::{self, Bucket, Client, Settings};
use worker::store::{Keep, Kind, Put, Store, StoreError};
use worker::workload::exec::buffer::Buffer;
use worker::workload::exec::logs;

/// A client of a bucket that gives up at once.
fn impatient(bucket: &str, endpoint: &str) -> Bucket<Client> {
    bucket::open(&url(bucket), &settings(endpoint, Duration::ZERO)).unwrap()
}

fn shown(error: &StoreError) -> String {
    format!("{:?}\n{}", error.kind, error.with_hint())
}

fn see(name: &str, text: &str) {
    insta::with_settings!({filters => [(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"), (r"after \d+ s", "after N s")]}, {
        insta::assert_snapshot!(name, text)
    });
}

#[test]
fn what_cannot_be_used_is_said_with_what_to_do() {
    let Some(server) = Server::shared() else { return };
    let mut text = String::new();
    let mut say = |what: &str, error: StoreError| text += &format!("== {what}\n{}\n\n", shown(&error));
    block_on(async {
        let endpoint = server.endpoint();
        say(
            "no such bucket",
            impatient("s3://no-such-bucket/x", &endpoint).client().reach().await.unwrap_err(),
        );
        let nobody = impatient("s3://bucket/x", "http://127.0.0.1:1");
        say("nobody answers", nobody.client().reach().await.unwrap_err());
        for (what, status, header, body) in [
            (
                "no permission to list",
                "403 Forbidden",
                "",
                "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
            ),
            (
                "a wrong key",
                "403 Forbidden",
                "",
                "<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not \
                 match the signature you provided.</Message></Error>",
            ),
            (
                "the region, by a redirect",
                "301 Moved Permanently",
                "x-amz-bucket-region: eu-central-1\r\n",
                "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be \
                 addressed using the specified endpoint.</Message></Error>",
            ),
            (
                "the region, by the signature",
                "400 Bad Request",
                "",
                "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the \
                 region 'us-east-1' is wrong; expecting 'eu-central-1'</Message><Region>eu-central-1</Region></Error>",
            ),
            (
                "the clock",
                "403 Forbidden",
                "",
                "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the \
                 current time is too large.</Message></Error>",
            ),
            ("a server that fails", "503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>"),
        ] {
            let bucket = impatient("s3://bucket/x", &canned::serve(status, header, body));
            say(what, bucket.client().reach().await.unwrap_err());
        }
    });
    see("cannot_be_used", &text);
}

#[test]
fn a_wrong_key_of_a_real_server_is_one() {
    let Some(server) = Server::durable() else { return };
    let bucket = url(&format!("s3://{}/x", server.fresh_bucket()));
    let mut wrong = settings(&server.endpoint(), Duration::ZERO);
    let mut errors = Vec::new();
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"] {
        wrong
            .variables
            .iter_mut()
            .filter(|(known, _)| known == name)
            .for_each(|(_, value)| *value = "wrong".to_owned());
        let store = bucket::open(&bucket, &wrong).unwrap();
        errors.push(shown(&block_on(store.client().reach()).unwrap_err()));
    }
    see("wrong_keys", &errors.join("\n"));
}

/// Two workers would both have won there. gcp-storage-emulator does not even answer as the API says.
#[test]
fn a_store_whose_second_create_succeeds_is_refused() {
    let probe = |settings: &Settings| {
        let store = bucket::open(&url("gs://bucket/team"), settings).unwrap();
        block_on(store.probe("runs/1/attempts/probe", "runs/1/probe")).unwrap_err()
    };
    see("careless_store", &shown(&probe(&Gcs::serve(true).settings())));
    let Some(server) = Server::careless_gcs() else { return };
    let variables = vec![("STORAGE_EMULATOR_HOST".to_owned(), server.endpoint())];
    let error = probe(&Settings { variables, patience: Duration::ZERO });
    see("careless_emulator", &shown(&error));
}

/// An undecided answer is never a decision: not 409, after which nothing may be there, nor 412, which our own create may
/// have caused (rule 8).
#[test]
fn an_answer_that_decides_nothing_is_looked_into() {
    for status in
        ["409 Conflict", "412 Precondition Failed", "429 Too Many Requests", "500 Internal Server Error"]
    {
        let store = impatient("s3://bucket/x", &canned::serve(status, "", ""));
        let error = block_on(async {
            let staged = store.stage("private", b"bytes", Keep::Durable).await.unwrap();
            store.put_if_absent(&staged, "public").await.unwrap_err()
        });
        assert!(error.to_string().starts_with("create public: "), "{status}: {error}");
    }
}

/// Clients race for a name over a line that loses requests and answers. One of them wins, each learns who it is, and
/// a client that hears that it was first was the first.
#[test]
fn one_of_many_wins_whatever_is_lost() {
    // moto 5.2.5 let two of six creates of one name succeed, on a loaded machine.
    let Some(server) = Server::durable() else { return };
    let bucket = url(&format!("s3://{}/x", server.fresh_bucket()));
    let mut fired: BTreeMap<Fault, u64> = BTreeMap::new();
    for seed in 0..4 {
        let proxy = Proxy::before(server.port(), seed, 3);
        block_on(race(&bucket, &proxy.endpoint(), &server.endpoint(), seed));
        for (fault, count) in proxy.fired() {
            *fired.entry(fault).or_default() += count;
        }
    }
    assert!(fired.len() >= 8, "some faults never came: {fired:?}");
}

async fn race(bucket: &worker::store::location::BucketUrl, lossy: &str, true_endpoint: &str, seed: u64) {
    const CLIENTS: usize = 6;
    let open = |endpoint: &str| bucket::open(bucket, &settings(endpoint, server::PATIENCE)).unwrap();
    let clients: Vec<Bucket<Client>> = (0..CLIENTS).map(|_| open(lossy)).collect();
    let truth = open(true_endpoint);
    for round in 0..12 {
        let public = format!("public/{seed}-{round}");
        let tries = clients.iter().enumerate().map(|(number, client)| {
            let (public, private) = (public.clone(), format!("private/{seed}-{round}-{number}"));
            Box::pin(async move {
                let bytes = [number as u8 / 2];
                let staged = client.stage(&private, &bytes, Keep::Durable).await.unwrap();
                // As the committer: an error says nothing, so it is tried again.
                loop {
                    if let Ok(put) = client.put_if_absent(&staged, &public).await {
                        return put;
                    }
                }
            })
        });
        let puts = all(tries.collect()).await;
        let winner = truth.get(&public).await.unwrap();
        let mut first = 0;
        for (number, put) in puts.iter().enumerate() {
            let ours = [number as u8 / 2];
            match put {
                Put::Ours { first: is_first } => {
                    assert_eq!(winner, ours, "{public}: {puts:?}");
                    first += usize::from(*is_first);
                }
                Put::Theirs(found) => {
                    assert_eq!((found, *found == ours), (&winner, false), "{public}: {puts:?}")
                }
            }
        }
        assert_eq!(first, 1, "{public}: {puts:?}");
    }
}

/// A worker stood still between looking at a name and replacing it: what others have put since stays (rule 12).
#[test]
fn what_has_changed_since_it_was_read_is_not_replaced() {
    let Some(server) = Server::shared() else { return };
    let bucket = url(&format!("s3://{}/x", server.fresh_bucket()));
    let open = || bucket::open(&bucket, &settings(&server.endpoint(), server::PATIENCE)).unwrap();
    block_on(async {
        let (slow, other) = (open(), open());
        for before in [None, Some(b"old".as_slice())] {
            let path = format!("output/{}", before.is_some());
            if let Some(bytes) = before {
                other.put(&path, bytes, Keep::Durable).await.unwrap();
            }
            let _ = slow.get(&path).await;
            other.put(&path, b"newer", Keep::Durable).await.unwrap();
            let staged = slow.stage("private", b"late", Keep::Durable).await.unwrap();
            assert_eq!(slow.replace(&staged, &path).await.unwrap_err().kind, Kind::Exists);
            assert_eq!(other.get(&path).await.unwrap(), b"newer");
            // Having looked again, it may.
            slow.get(&path).await.unwrap();
            slow.replace(&staged, &path).await.unwrap();
            slow.replace(&staged, &path).await.unwrap();
            assert_eq!(other.get(&path).await.unwrap(), b"late");
        }
    });
}

/// Consoles of providers make objects that stand for folders.
#[test]
fn an_object_that_stands_for_a_folder_is_none_of_its_names() {
    let Some(server) = Server::shared() else { return };
    let name = server.fresh_bucket();
    let put =
        |path: &str| std::process::Command::new("curl").args(["-sf", "-X", "PUT", "-d", "", path]).output();
    let Ok(made) = put(&format!("{}/{name}/x/datasets/", server.endpoint())) else { return };
    assert!(made.status.success());
    let store =
        bucket::open(&url(&format!("s3://{name}/x")), &settings(&server.endpoint(), server::PATIENCE))
            .unwrap();
    block_on(async {
        for path in ["datasets/a b.parquet", "datasets/day=1/ü#?%41.csv"] {
            store.put(path, b"x", Keep::Durable).await.unwrap();
            assert_eq!(store.get(path).await.unwrap(), b"x", "{path}");
        }
        assert_eq!(store.list("datasets").await.unwrap(), ["a b.parquet", "day=1"]);
        assert_eq!(store.list("datasets/day=1").await.unwrap(), ["ü#?%41.csv"]);
    });
}

/// How many requests a commit and its look-up take; each costs money and a round trip.
#[test]
fn calls_are_few() {
    let Some(server) = Server::shared() else { return };
    let bucket = url(&format!("s3://{}/x", server.fresh_bucket()));
    let store = bucket::open(&bucket, &settings(&server.endpoint(), server::PATIENCE)).unwrap();
    block_on(async {
        let staged = store.stage("private", b"bytes", Keep::Durable).await.unwrap();
        store.put_if_absent(&staged, "public").await.unwrap();
        store.unstage("private").await;
        store.settle("").await.unwrap();
        let calls = store.client().calls();
        assert_eq!((calls.writes, calls.reads, calls.lists, calls.deletes), (1, 0, 0, 0), "a commit");
        let mut log = store.create_log("events/log.jsonl").await.unwrap();
        for _ in 0..1_000 {
            store.append(&mut log, b"a line\n").await.unwrap();
        }
        store.show(&mut log).await.unwrap();
        assert!(store.client().calls().writes <= 10, "{:?}", store.client().calls());
        assert_eq!(store.get("events/log.jsonl").await.unwrap().len(), 7_000);
    });
}

/// Of each item the newest attempts are kept, each whole, and an upload whose answer was lost is made good at the next.
#[test]
fn logs_of_attempts_are_uploaded_and_bounded() {
    let Some(server) = Server::shared() else { return };
    let bucket = url(&format!("s3://{}/x", server.fresh_bucket()));
    let open = || bucket::open(&bucket, &settings(&server.endpoint(), server::PATIENCE)).unwrap();
    let (store, reader, buffer) = (open(), open(), Buffer::default());
    block_on(async {
        for token in 1..=logs::ATTEMPTS_MAX + 2 {
            buffer.add("train/1", &format!("train-{token}-0f"), "begins");
            buffer.upload(&store, "r").await;
            buffer.add("train/1", &format!("train-{token}-0f"), "ends");
        }
        // Two attempts that began since, one of them of an item whose name begins the same.
        buffer.add("train/11", "train-20-0f", "another item");
        // The answer to an upload was lost: the object is newer than the worker knows.
        let last = "logs/r/train-1/train-12-0f.log";
        reader.put(last, b"begins\n", Keep::Reproducible).await.unwrap();
        buffer.upload(&store, "r").await;
        buffer.upload(&store, "r").await;
        let writes = store.client().calls().writes;
        buffer.upload(&store, "r").await;
        assert_eq!(store.client().calls().writes, writes, "nothing has come since");
        let kept = logs::kept(&reader, "r", Some("train/1")).await.unwrap();
        let names = (3..=12).map(|token| format!("logs/r/train-1/train-{token}-0f.log"));
        assert_eq!(kept, names.collect::<Vec<_>>());
        for path in kept {
            assert_eq!(reader.get(&path).await.unwrap(), b"begins\nends\n", "{path}");
        }
        assert_eq!(logs::kept(&reader, "r", None).await.unwrap().len(), 11);
        assert_eq!(logs::kept(&reader, "r", Some("..")).await.unwrap(), [""; 0]);
    });
}

/// As of a directory: what a program printed, its failed attempts too.
#[test]
fn what_programs_print_is_kept_in_the_bucket() {
    let Some(server) = Server::shared() else { return };
    let volume = format!("s3://{}/x", server.fresh_bucket());
    let store = bucket::open(&url(&volume), &settings(&server.endpoint(), server::PATIENCE)).unwrap();
    block_on(async {
        store.put("datasets/training/a.txt", b"x", Keep::Durable).await.unwrap();
        store.put("list", b"datasets/training/a.txt", Keep::Durable).await.unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let worker = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_worker-under-test"));
        command.args(arguments).args(["--volume", &volume]).envs(variables(&server.endpoint()));
        command
    };
    let once = folder.path().join("once");
    let script = format!("echo out; [ -e {0} ] || {{ touch {0}; echo fails >&2; exit 3; }}", once.display());
    let queue = format!("sqlite:{}/queue", folder.path().display());
    let mut run = worker(&["run", "--list", "list", "--run", "r", "--queue", &queue, "--idle", "20ms"]);
    let output = run.args(["--", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", tests::command::transcript(&output));
    let logs = |item: &str| {
        let output = worker(&["logs", "--run", "r", item]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = logs("train/0");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("== train-0.")).collect();
    assert_eq!((code, lines), (Some(0), vec!["out", "fails", "out"]), "{text}");
    assert_eq!(logs("train/7").0, Some(3));
}

/// What `cloud run --storage` does from this machine: what is there with the same content is not put again, and a result
/// is fetched whole or not at all.
#[test]
fn datasets_are_staged_once_and_results_fetched_whole() {
    let Some(server) = Server::shared() else { return };
    let bucket = url(&format!("s3://{}/x", server.fresh_bucket()));
    let settings = settings(&server.endpoint(), server::PATIENCE);
    let volume = BucketVolume::open(&bucket, &settings).unwrap();
    let store = bucket::open(&bucket, &settings).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let staged = || {
        let mut files = cloud::k8s::stage::list(folder.path()).unwrap();
        files.iter_mut().for_each(|file| file.path.insert_str(0, "datasets/training/"));
        let datasets = Datasets { from: folder.path().to_owned(), is_flat: true, files };
        let mut told = Vec::new();
        block_on(volume.stage_files(&datasets, &mut |path| told.push(path.to_owned())))
            .map(|()| (datasets, told))
    };
    // In one request; in parts, of which the last is short; in whole parts.
    let sizes = [("empty", 0), ("small", 10), ("parts", (20 << 20) + 1), ("whole", 16 << 20)];
    for (name, size) in sizes {
        write(name, &(0..size).map(|at| (at >> 12) as u8).collect::<Vec<u8>>());
    }
    assert_eq!(staged().unwrap().1.len(), sizes.len());
    for (name, _) in sizes {
        let there = block_on(store.get(&format!("datasets/training/{name}"))).unwrap();
        assert!(there == std::fs::read(folder.path().join(name)).unwrap(), "{name}");
    }
    assert_eq!(staged().unwrap().1, [""; 0], "all is there");
    // Of the same size; then as before: the bucket's note is not of what was replaced.
    write("small", b"0123456789");
    assert_eq!(staged().unwrap().1, ["datasets/training/small"]);
    block_on(store.delete("datasets/training/empty")).unwrap();
    assert_eq!(staged().unwrap().1, ["datasets/training/empty"]);
    // A file that is not what was hashed has no name in the bucket.
    let (mut datasets, _) = staged().unwrap();
    datasets.files.iter_mut().for_each(|file| file.sha256 = "00".repeat(32));
    assert!(block_on(volume.stage_files(&datasets, &mut |_| ())).unwrap_err().why.contains("changed"));
    assert_eq!(staged().unwrap().1.len(), sizes.len(), "what may have been replaced is put again");

    block_on(async {
        for (path, size) in [("output/report.txt", 10), ("output/models/a", (8 << 20) + 5)] {
            store.put(path, &vec![7; size], Keep::Durable).await.unwrap();
        }
        let (out, results) = (folder.path().join("out"), volume.results().await.unwrap());
        volume.fetch(&results, &out).await.unwrap();
        assert_eq!(std::fs::read(out.join("output/models/a")).unwrap(), vec![7; (8 << 20) + 5]);
        store.put("output/report.txt", b"other text", Keep::Durable).await.unwrap();
        let again = folder.path().join("again");
        assert!(volume.fetch(&results, &again).await.unwrap_err().is_transient(), "it was replaced");
        assert_eq!(tests::command::files(&again).len(), 0, "nothing appears of what was read in part");
    });
}

/// Gives tokens as Google's metadata server does, and an empty bucket to who has one. Returns its address, and each
/// request with its credentials.
fn metadata_and_bucket() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let header = |name: &str| {
                let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
                line.map_or("none", |line| line[name.len()..].trim()).to_owned()
            };
            let path =
                head.split_whitespace().nth(1).unwrap_or_default().split('?').next().unwrap().to_owned();
            let body = match path.contains("/service-accounts/default/token")
                && header("metadata-flavor:") == "Google"
            {
                true => r#"{"access_token": "the-pods-own", "expires_in": 3600, "token_type": "Bearer"}"#,
                false => "<ListBucketResult></ListBucketResult>",
            };
            heard.lock().unwrap().push(format!("{path} {}", header("authorization:")));
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    (address, asked)
}

/// In a pod at Google there is no key and no log-in: the machine gives tokens of the pod's identity.
#[test]
fn a_pod_needs_no_key() {
    let (address, asked) = metadata_and_bucket();
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_worker-under-test"));
    command.args(["runs", "--volume", "gs://data/volume"]).env_remove("GOOGLE_APPLICATION_CREDENTIALS");
    command.env("HOME", nowhere.path()).env("GCE_METADATA_HOST", &address);
    command.env("GOOGLE_BASE_URL", format!("http://{address}"));
    let output = command.output().unwrap();
    let asked = asked.lock().unwrap().clone();
    let said = tests::command::transcript(&output);
    assert_eq!(asked[0], "/computeMetadata/v1/instance/service-accounts/default/token none", "{said}");
    assert!(
        asked.len() > 1 && asked[1..].iter().all(|one| one.ends_with(" Bearer the-pods-own")),
        "{asked:?} {said}"
    );
}
