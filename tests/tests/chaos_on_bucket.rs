//! Runs on a bucket, as `sim run` makes them: preempted workers, a line that loses requests and answers, a server that is
//! killed and started again. BUCKET_SCHEDULES of each kind (2 where nothing is said).

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::bucket::proxy::Proxy;
use tests::bucket::server::Server;
use tests::bucket::variables;
use tests::chaos::{Chaos, Volume};

fn schedules() -> u64 {
    std::env::var("BUCKET_SCHEDULES").map_or(2, |text| text.parse().expect("BUCKET_SCHEDULES is a number"))
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sim-under-test"))
}

/// One schedule, its volume at an endpoint.
fn run(seed: u64, bucket: &str, endpoint: &str) -> u32 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let volume =
        Volume { url: format!("s3://{bucket}/runs of {seed}"), variables: variables(endpoint).to_vec() };
    let chaos = Chaos::draw(seed).without_redis().on(volume);
    match chaos.run(program(), folder.path()) {
        Ok(tally) => tally.files,
        Err(why) => panic!("seed {seed}: {why}\nfiles: {}", folder.keep().display()),
    }
}

#[test]
fn whatever_a_line_loses_the_files_are_those_of_a_directory() {
    let Some(server) = Server::shared() else { return };
    let bucket = server.fresh_bucket();
    for seed in 0..schedules() {
        let proxy = Proxy::before(server.port(), seed, 12);
        let files = run(seed, &bucket, &proxy.endpoint());
        // Past the capture of tests' output: how much was lost is part of the result.
        let _ = writeln!(std::io::stderr(), "seed {seed}: {files} files equal; faults {:?}", proxy.fired());
        assert!(files > 0 && !proxy.fired().is_empty());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real server goes by real time")]
fn a_server_that_is_killed_loses_nothing_that_it_answered() {
    let Some(mut server) = Server::durable() else { return };
    let (bucket, endpoint) = (server.fresh_bucket(), server.endpoint());
    for seed in 100..100 + schedules() {
        let over = AtomicBool::new(false);
        let (files, kills) = std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let over = OnDrop(&over);
                let files = run(seed, &bucket, &endpoint);
                drop(over);
                files
            });
            let mut kills = 0;
            while !over.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(300 + seed * 37 % 400));
                server.kill();
                std::thread::sleep(Duration::from_millis(200));
                server.restart();
                kills += 1;
            }
            (run.join().expect("the run ends well"), kills)
        });
        let _ = writeln!(
            std::io::stderr(),
            "seed {seed}: {files} files equal; the server was killed {kills} times"
        );
        assert!(files > 0 && kills > 0);
    }
}

/// Says that a run is over, however it ended.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
