"""No-op jobs a second of other queues, through one worker each, beside the Redis queue's claims and
acknowledgements: a line of JSON for each round, then one of the medians. What was not run is said.

    python benches/peer_queues.py BENCH [--jobs 20000] [--repeats 3]

BENCH is the program that `cargo bench -p queues --bench queue --no-run` names. A peer's worker finds its
jobs queued, on the same Redis. The first tenth warms it up: the job after it makes the file `begin`, the
last one `end`, and the time is that between them. Peers are installed in a folder that goes away.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from run import HERE, Redis

INSTALL_TAKES_S, JOBS_TAKE_S = 600, 180

PYTHON = [f"{sys.executable} -m venv python", "python/bin/pip install --quiet -r requirements.txt"]
CELERY = "python/bin/celery -A celery_peer worker --loglevel ERROR --concurrency"
RQ = "python/bin/rq worker --quiet bench --worker-class"
# By peer: what installs it, what queues jobs, its workers by name, and its share of the jobs (with all of
# them the slow ones would take minutes).
PEERS = {
    "asynq": (
        ["go build -o asynq_peer ."],
        "./asynq_peer fill",
        {"1": "./asynq_peer work 1", "16": "./asynq_peer work 16"},
        1,
    ),
    "bullmq": (
        ["npm install --silent --no-audit --no-fund"],
        "node bullmq_peer.mjs fill",
        {"1": "node bullmq_peer.mjs work 1", "16": "node bullmq_peer.mjs work 16"},
        1,
    ),
    "celery": (PYTHON, "python/bin/python celery_peer.py fill", {"1": f"{CELERY} 1", "16": f"{CELERY} 16"}, 0.5),
    "rq": (
        PYTHON,
        "python/bin/python rq_peer.py fill",
        {"1": f"{RQ} rq.Worker", "1_without_fork": f"{RQ} rq.SimpleWorker"},
        0.1,
    ),
}
NOT_RUN = {"apalis": "a Rust crate, whose build takes longer than a minute"}


class Failed(Exception):
    pass


class Peers:
    def __init__(self, folder, redis):
        self.folder, self.redis, self.commands_run = folder, redis, set()
        self.environment = os.environ | {"PEER_REDIS": redis.url, "RQ_REDIS_URL": redis.url}

    def run(self, command, seconds):
        try:
            done = subprocess.run(
                command.split(), cwd=self.folder, env=self.environment, timeout=seconds, capture_output=True, text=True
            )
        except FileNotFoundError as error:
            raise Failed(f"no {error.filename}") from error
        except subprocess.TimeoutExpired as error:
            raise Failed(f"`{command}` took more than {seconds} s") from error
        if done.returncode:
            raise Failed(f"`{command}` failed: {(done.stderr or done.stdout)[-300:]!r}")

    def install(self, commands):
        for command in commands:
            if command not in self.commands_run:
                self.run(command, INSTALL_TAKES_S)
                self.commands_run.add(command)

    def jobs_per_s(self, fill, work, jobs):
        begin, end = self.folder / "begin", self.folder / "end"
        begin.unlink(missing_ok=True)
        end.unlink(missing_ok=True)
        self.redis.cli("FLUSHALL")
        self.run(f"{fill} {jobs}", JOBS_TAKE_S)
        with (self.folder / "worker.log").open("w+") as log:
            worker = subprocess.Popen(
                work.split(), cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                deadline = time.monotonic() + JOBS_TAKE_S
                while not end.exists():
                    if worker.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise Failed(f"`{work}` did not get to the last job: {log.read()[-300:]!r}")
                    time.sleep(0.05)
            finally:
                # With its children; there is nothing left that a gentle end would save.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
        nanoseconds = end.stat().st_mtime_ns - begin.stat().st_mtime_ns
        return (jobs - 1 - jobs // 10) * 1e9 / nanoseconds


def measure(peers, bench, jobs, not_run):
    """One round: jobs a second, by name and concurrency."""
    peers.redis.cli("FLUSHALL")
    ours = json.loads(subprocess.check_output([bench, peers.redis.url, str(jobs)], text=True))
    found = {f"ours_{connections}": ours[f"jobs_per_s_{connections}"] for connections in (1, 16)}
    for name, (install, fill, workers, part) in PEERS.items():
        try:
            if name not in not_run:
                peers.install(install)
                for worker, work in workers.items():
                    found[f"{name}_{worker}"] = round(peers.jobs_per_s(fill, work, int(jobs * part)))
        except Failed as error:
            not_run[name] = str(error)
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bench")
    arguments.add_argument("--jobs", type=int, default=20_000)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments = arguments.parse_args()
    rounds, not_run = defaultdict(list), dict(NOT_RUN)
    with Redis() as redis, tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        folder = Path(shutil.copytree(HERE / "peers", Path(folder) / "peers"))
        peers = Peers(folder, redis)
        for _ in range(arguments.repeats):
            before = os.getloadavg()[0]
            found = measure(peers, arguments.bench, arguments.jobs, not_run)
            for name, rate in found.items():
                rounds[name].append(rate)
            load = {"load_before": round(before, 1), "load_after": round(os.getloadavg()[0], 1)}
            print(json.dumps({"bench": "peers"} | found | load), flush=True)
    medians = {name: statistics.median(rates) for name, rates in rounds.items()}
    print(json.dumps({"bench": "peers, medians"} | medians))
    for name, why in not_run.items():
        print(f"NOT RUN: {name}: {why}")


if __name__ == "__main__":
    main()
