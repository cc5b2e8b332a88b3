//! How the queue on Redis behaves where Redis fails: a transient fault is reported as away and costs nothing
//! but time, a lasting fault is refused with a hint, and nothing half done is left behind.

#[path = "queue_failures/access.rs"]
mod access;

use std::time::Duration;

use redis::{Cmd, Value};
use tests::queue::block_on;
use tests::queue::items::{BEGIN, FOLD, REPORT, join, prepare};
use tests::queue::server::{PATIENCE, Server, connect};
use tests::queue::wire::Proxy;
use worker::queue::redis::Redis;
use worker::queue::{Claim, Counts, Inbox, Ownership, QueueError, Release, WorkQueue};

const LONG: Duration = Duration::from_secs(3600);

fn client(url: &str) -> Redis {
    Redis::open_with(url, None, "volume", "1").expect("a good URL").with_patience(PATIENCE)
}

fn tell(url: &str, command: &Cmd) -> Value {
    command.query(&mut connect(url)).expect("the server obeys the command")
}

fn config(url: &str, name: &str, value: &str) {
    tell(url, redis::cmd("CONFIG").arg("SET").arg(name).arg(value));
}

async fn claimed(queue: &Redis, lease: Duration) -> Claim {
    queue.claim("worker", 7, lease, &[]).await.expect("answered").expect("an item")
}

/// Two items, one of them claimed, and a pushed path.
async fn begin(queue: &Redis) -> Claim {
    assert_eq!(queue.add(&[FOLD, prepare(1)]).await, Ok(2));
    queue.push(&["path".to_owned()]).await.expect("pushed");
    claimed(queue, LONG).await
}

const BEGUN: Counts = Counts { pending: 1, claimed: 1 };

/// The claim is worked on to its end, and the queue goes on from there.
async fn goes_on(queue: &Redis, claim: &Claim) {
    assert_eq!(queue.counts().await, Ok(BEGUN));
    assert_eq!(queue.pushed().await, Ok(vec!["path".to_owned()]));
    assert_eq!(queue.heartbeat(claim, LONG, 1).await, Ok(Ownership::Held));
    assert_eq!(queue.ack(claim, &[join(1)]).await, Ok(Ownership::Held));
    let next = claimed(queue, LONG).await;
    assert_eq!(next.item, prepare(1));
    assert!(next.token > claim.token);
}

/// Returns the error of each operation that writes.
async fn writes(queue: &Redis, claim: &Claim) -> Vec<(&'static str, QueueError)> {
    let path = ["path".to_owned()];
    let answers = [
        ("add", queue.add(&[REPORT]).await.err()),
        ("claim", queue.claim("other", 8, LONG, &[]).await.err()),
        ("heartbeat", queue.heartbeat(claim, LONG, 1).await.err()),
        ("release", queue.release(claim, Duration::ZERO, Release::Failed).await.err()),
        ("ack", queue.ack(claim, &[join(1)]).await.err()),
        ("push", queue.push(&path).await.err()),
        ("remove pushed", queue.remove_pushed(&path).await.err()),
    ];
    answers
        .into_iter()
        .map(|(name, error)| (name, error.unwrap_or_else(|| panic!("{name} worked"))))
        .collect()
}

fn all_away(answers: &[(&'static str, QueueError)], word: &str) {
    for (name, error) in answers {
        assert!(matches!(error, QueueError::Away(text) if text.contains(word)), "{name}: {error}");
    }
}

/// The text of a refusal, without the port that differs from run to run.
fn refusal<T: std::fmt::Debug>(answer: Result<T, QueueError>, server: &Server) -> String {
    match answer.expect_err("this must be refused") {
        QueueError::Refused(text) => text.replace(&server.port().to_string(), "PORT"),
        QueueError::Away(text) => panic!("reported as away: {text}"),
    }
}

#[test]
fn a_server_that_cannot_save_is_away_until_it_can() {
    let arguments = ["--save", "3600 1", "--enable-protected-configs", "yes"];
    let Some(server) = Server::start(&arguments) else { return };
    let url = server.fresh_database();
    block_on(async {
        let queue = client(&url);
        let claim = begin(&queue).await;
        // Where nobody, not even root, can make a file.
        config(&url, "dir", "/proc");
        tell(&url, &redis::cmd("BGSAVE"));
        snapshot_has_failed(&url);
        all_away(&writes(&queue, &claim).await, "MISCONF");
        assert_eq!(queue.counts().await, Ok(BEGUN), "reads go on");
        config(&url, "stop-writes-on-bgsave-error", "no");
        goes_on(&queue, &claim).await;
    });
}

/// Returns once it has.
fn snapshot_has_failed(url: &str) {
    loop {
        let Value::BulkString(info) = tell(url, redis::cmd("INFO").arg("persistence")) else {
            panic!("no text")
        };
        let info = String::from_utf8(info).expect("text");
        if info.contains("rdb_last_bgsave_status:err") {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_replica_is_away_until_it_is_promoted() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.fresh_database();
    block_on(async {
        let queue = client(&url);
        let claim = begin(&queue).await;
        // A master that nobody is: the replica keeps what it has and takes no writes.
        tell(&url, redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1"));
        all_away(&writes(&queue, &claim).await, "READONLY");
        tell(&url, redis::cmd("REPLICAOF").arg("NO").arg("ONE"));
        goes_on(&queue, &claim).await;
    });
}

/// What is in it can still be claimed and acknowledged, so that a full server drains.
#[test]
fn a_full_server_is_away_for_what_is_added() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.fresh_database();
    block_on(async {
        let queue = client(&url);
        let claim = begin(&queue).await;
        config(&url, "maxmemory", "1");
        let needs = [
            ("add", queue.add(&[REPORT]).await.err()),
            ("push", queue.push(&["path".to_owned()]).await.err()),
        ];
        for (name, error) in needs {
            all_away(&[(name, error.unwrap_or_else(|| panic!("{name} worked")))], "OOM");
        }
        assert_eq!(queue.counts().await, Ok(BEGUN));
        assert_eq!(queue.ack(&claim, &[]).await, Ok(Ownership::Held));
        let next = claimed(&queue, LONG).await;
        assert_eq!(next.item, prepare(1));
        config(&url, "maxmemory", "0");
        assert_eq!(queue.ack(&next, &[join(1)]).await, Ok(Ownership::Held));
        assert_eq!(claimed(&queue, LONG).await.item, join(1));
    });
}

#[test]
fn a_restart_with_its_data_costs_no_claim() {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Server::start_process(&arguments) else { return };
    let url = server.fresh_database();
    let queue = client(&url);
    block_on(async {
        let claim = begin(&queue).await;
        server.kill();
        all_away(&writes(&queue, &claim).await, "127.0.0.1");
        server.restart();
        goes_on(&queue, &claim).await;
    });
}

/// An empty server starts its tokens over: the nonce alone tells the old owner from the new one.
#[test]
fn a_restart_without_data_voids_every_claim() {
    let Some(mut server) = Server::start_process(&[]) else { return };
    let url = server.fresh_database();
    let queue = client(&url);
    block_on(async {
        let old = begin(&queue).await;
        server.kill();
        server.restart();
        // The first operation may find the old connection dead.
        let _ = queue.counts().await;
        assert_eq!(queue.counts().await.map(|counts| counts.is_empty()), Ok(true));
        assert_eq!(queue.add(&[FOLD]).await, Ok(1));
        let new = queue.claim("other", 8, LONG, &[]).await.expect("answered").expect("the fold");
        assert_eq!(new.token, old.token, "tokens start over");
        assert_eq!(queue.heartbeat(&old, LONG, 1).await, Ok(Ownership::Lost));
        assert_eq!(queue.release(&old, Duration::ZERO, Release::Failed).await, Ok(Ownership::Lost));
        assert_eq!(queue.ack(&old, &[]).await, Ok(Ownership::Lost));
        assert_eq!(queue.ack(&new, &[]).await, Ok(Ownership::Held));
    });
}

/// A server that forgets its scripts, or drops its connections, is none that fails.
#[test]
fn forgotten_scripts_and_dropped_connections_heal() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.fresh_database();
    block_on(async {
        let queue = client(&url);
        let claim = begin(&queue).await;
        tell(&url, redis::cmd("SCRIPT").arg("FLUSH"));
        assert_eq!(queue.heartbeat(&claim, LONG, 1).await, Ok(Ownership::Held));
        tell(&url, redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal"));
        if let Err(error) = queue.counts().await {
            assert!(matches!(error, QueueError::Away(_)), "{error}");
        }
        goes_on(&queue, &claim).await;
    });
}

#[test]
fn an_answer_that_is_lost_leaves_no_harm() {
    let Some(server) = Server::start(&[]) else { return };
    let direct = server.fresh_database();
    let database = direct.rsplit('/').next().expect("a database").to_owned();
    let line = Proxy::start(server.port());
    block_on(async {
        let (near, far) = (client(&direct), client(&line.url(&database)));
        let path = ["path".to_owned()];
        /// Does an operation whose answer is lost, on a connection that worked before.
        macro_rules! lost {
            ($operation:expr) => {
                far.counts().await.expect("the line works");
                line.lose_answers(true);
                let answer = $operation.await;
                assert!(matches!(answer, Err(QueueError::Away(_))), "{answer:?}");
                line.lose_answers(false);
            };
        }
        // The server gets to know every script: what it does not know it would ask for again.
        assert_eq!(far.add(&[BEGIN]).await, Ok(1));
        let begin = claimed(&far, LONG).await;
        assert_eq!(far.ack(&begin, &[]).await, Ok(Ownership::Held));

        // Pushed twice, taken in by value.
        lost!(far.push(&path));
        far.push(&path).await.expect("pushed again");
        assert_eq!(near.pushed().await.map(|paths| paths.len()), Ok(2));
        far.remove_pushed(&path).await.expect("taken in");
        assert_eq!(near.pushed().await, Ok(vec![]));

        lost!(far.add(&[FOLD]));
        assert_eq!(far.add(&[FOLD]).await, Ok(0), "added before");

        // Claimed by nobody who knows: its lease brings it back.
        lost!(far.claim("worker", 7, Duration::ZERO, &[]));
        let claim = far.claim("worker", 8, LONG, &[]).await.expect("answered").expect("the fold");
        assert_eq!(claim.taken_over_from.as_deref(), Some("worker"));

        // Acknowledged twice: at the second ack no worker owns the item.
        lost!(far.ack(&claim, &[REPORT]));
        assert_eq!(far.ack(&claim, &[REPORT]).await, Ok(Ownership::Lost));
        assert_eq!(near.counts().await, Ok(Counts { pending: 1, claimed: 0 }));
    });
}

/// Nobody listens; someone listens and never answers.
#[test]
fn a_server_that_is_not_there_is_away() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its number").port();
    let queue = Redis::open_with(&format!("redis://127.0.0.1:{port}"), None, "volume", "1");
    let queue = queue.expect("a good URL").with_patience(Duration::from_millis(50));
    block_on(async {
        assert!(matches!(queue.counts().await, Err(QueueError::Away(_))), "silent");
        drop(listener);
        assert!(matches!(queue.counts().await, Err(QueueError::Away(_))), "gone");
    });
}

#[test]
fn a_wrong_password_or_database_is_refused_with_a_hint() {
    let Some(server) = Server::start(&["--requirepass", "hunter2"]) else { return };
    let port = server.port();
    let open = |url: &str, password: Option<&str>| {
        let queue = Redis::open_with(url, password.map(str::to_owned), "volume", "1").expect("a good URL");
        block_on(async { queue.with_patience(PATIENCE).counts().await })
    };
    let url = format!("redis://127.0.0.1:{port}");
    let said = [
        refusal(open(&url, None), &server),
        refusal(open(&url, Some("wrong")), &server),
        refusal(open(&format!("redis://nobody:hunter2@127.0.0.1:{port}"), None), &server),
        refusal(open(&format!("redis://:hunter2@127.0.0.1:{port}/5000"), None), &server),
    ];
    insta::assert_snapshot!(said.join("\n\n"));
    assert!(open(&url, Some("hunter2")).is_ok());
    assert!(open(&format!("redis://:hunter2@127.0.0.1:{port}/5"), Some("wrong")).is_ok());
}

#[test]
fn a_key_that_is_not_ours_is_named() {
    let Some(server) = Server::shared() else { return };
    let url = server.fresh_database();
    tell(&url, redis::cmd("SET").arg("datasets").arg("mine"));
    tell(&url, redis::cmd("LPUSH").arg("datasets:{volume:1}:pending").arg("mine"));
    let queue = client(&url);
    let database = url.rsplit('/').next().expect("a database").to_owned();
    let said = block_on(async {
        let path = ["path".to_owned()];
        let pushed = queue.push(&path).await;
        let claim = queue.claim("worker", 7, LONG, &[]).await;
        [refusal(pushed, &server), refusal(claim, &server)]
    });
    let said = said.map(|text| text.replace(&format!("PORT/{database}:"), "PORT/DB:"));
    insta::assert_snapshot!(said.join("\n\n"));
}

/// A new client, since only the first connection asks what the server is.
fn first_answer(url: &str) -> Result<Counts, QueueError> {
    block_on(client(url).counts())
}

#[test]
fn a_node_of_a_cluster_is_refused_at_once() {
    let Some(server) = Server::start(&["--cluster-enabled", "yes"]) else { return };
    insta::assert_snapshot!(refusal(first_answer(&server.url()), &server), @r"
    redis://127.0.0.1:PORT/0: it is a node of a cluster
    hint: give a server that is none
    ");
}

#[test]
fn a_replica_is_refused_at_first_and_waited_for_later() {
    let Some(server) = Server::start(&[]) else { return };
    let queue = client(&server.url());
    assert_eq!(block_on(queue.add(&[FOLD])), Ok(1));
    // Of a master that is not there: enough to be a replica.
    tell(&server.url(), redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1));
    insta::assert_snapshot!(refusal(first_answer(&server.url()), &server), @r"
    redis://127.0.0.1:PORT/0: it is a replica, which takes no writes
    hint: give its master: redis-cli INFO replication shows master_host and master_port
    ");
    // The server may have ended the connection: a new one answers.
    let answers = (0..2).map(|_| block_on(queue.add(&[REPORT])).expect_err("a replica"));
    let answers: Vec<QueueError> = answers.collect();
    assert!(answers.iter().all(|answer| matches!(answer, QueueError::Away(_))), "{answers:?}");
    assert!(answers[1].to_string().contains("READONLY"), "{answers:?}");
}

#[test]
fn a_server_that_hangs_up_unanswered_is_away_and_tls_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let hangs_up = std::thread::spawn(move || drop(listener.accept()));
    let answer = first_answer(&format!("redis://127.0.0.1:{port}"));
    hangs_up.join().expect("somebody came");
    assert!(
        matches!(&answer, Err(QueueError::Away(text)) if text.contains("a port for TLS does")),
        "{answer:?}"
    );
}
