"""What a no-op program costs as an item: `true`, a thousand times, by one worker, in turn with its peers in the same run.

    python benches/overhead.py [--worker target/release/worker] [--items 1000] [--repeats 3]

- bare: fork, exec and wait of the same program, and one commit as the worker makes it (a private file, fsync, read
  again, link, read again, fsync of the folder), by a loop in Python
- queued: the same, and what the worker asks of its queue: two transactions in SQLite, a claim and an acknowledgement
- parallel: GNU parallel with `--joblog`, one job at a time
- rq: RQ's own worker, a job that runs the program, on Redis (as it comes, and without a fork a job)

One line of JSON a round, then the medians and the ratios, of the time and of the CPU of everything that was started
(but Redis): beside other work only the CPU says much. A peer that is not installed is said. All files are below TMPDIR:
on ext4 without a journal an item's files cost more than they do elsewhere, since ext4 passes over each inode that was
deleted in the last minutes whenever it looks for one.
"""

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import HERE, Redis

# By its path: a shell would take its own.
PROGRAM = shutil.which("true")
RQ_VERSION = "rq==3.0.0"


def ours(worker, items, folder):
    """Seconds from the start of one worker to its end: it begins the run, hashes, does the items, reports."""
    training = folder / "datasets/training"
    training.mkdir(parents=True)
    names = [f"datasets/training/{number:05}.txt" for number in range(items)]
    for name in names:
        (folder / name).write_text(name)
    (folder / "list").write_text("\n".join(names))
    began = time.monotonic()
    subprocess.run(
        [worker, "run", "--volume", folder, "--list", "list", "--map", "--", PROGRAM],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.monotonic() - began


class Queue:
    """A claim and an acknowledgement, each a transaction, as the worker's own queue makes them."""

    def __init__(self, folder, items):
        self.file = sqlite3.connect(folder / "queue.sqlite", isolation_level=None)
        self.file.execute("PRAGMA journal_mode = WAL")
        self.file.execute("PRAGMA synchronous = OFF")
        self.file.execute("CREATE TABLE items (rank INTEGER PRIMARY KEY, item TEXT, deadline INTEGER, token INTEGER)")
        self.file.execute("BEGIN IMMEDIATE")
        self.file.executemany("INSERT INTO items VALUES (?, ?, 0, 0)", [(n, f"prepare/{n}") for n in range(items)])
        self.file.execute("COMMIT")

    def claim(self, token):
        self.file.execute("BEGIN IMMEDIATE")
        (rank,) = self.file.execute("SELECT rank FROM items WHERE deadline <= 1 ORDER BY rank LIMIT 1").fetchone()
        self.file.execute("UPDATE items SET deadline = 5, token = ? WHERE rank = ?", (token, rank))
        self.file.execute("COMMIT")
        return rank

    def acknowledge(self, rank, token):
        self.file.execute("BEGIN IMMEDIATE")
        self.file.execute("DELETE FROM items WHERE rank = ? AND token = ?", (rank, token))
        self.file.execute("COMMIT")


def bare(items, folder, with_queue=False):
    private, public = folder / "private", folder / "public"
    private.mkdir()
    public.mkdir()
    record = bytes(200)
    began = time.monotonic()
    queue = Queue(folder, items) if with_queue else None
    for number in range(items):
        rank = queue.claim(number + 1) if queue else None
        os.waitpid(os.posix_spawn(PROGRAM, [PROGRAM], os.environ), 0)
        name = private / str(number)
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(file, record)
        os.fsync(file)
        os.close(file)
        if name.read_bytes() != record:
            sys.exit("the file system did not keep what was written")
        os.link(name, public / str(number))
        if (public / str(number)).read_bytes() != record:
            sys.exit("the file system did not keep what was written")
        at = os.open(public, os.O_RDONLY)
        os.fsync(at)
        os.close(at)
        os.unlink(name)
        if queue:
            queue.acknowledge(rank, number + 1)
    return time.monotonic() - began


def parallel(items, folder):
    lines = "\n".join(str(number) for number in range(items))
    began = time.monotonic()
    subprocess.run(
        ["parallel", "--will-cite", "-j1", "--joblog", folder / "log", PROGRAM],
        input=lines.encode(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - began


def rq(items, python, worker_class, redis):
    fill = (
        "import redis, rq, subprocess\n"
        f"queue = rq.Queue('overhead', connection=redis.Redis(port={redis.port}))\n"
        f"for _ in range({items}): queue.enqueue(subprocess.run, ['{PROGRAM}'], check=True)\n"
    )
    subprocess.run([python, "-c", fill], check=True)
    began = time.monotonic()
    subprocess.run(
        [python.parent / "rq", "worker", "--quiet", "--burst", "--url", f"redis://127.0.0.1:{redis.port}",
         "--worker-class", worker_class, "overhead"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.monotonic() - began


def cpu_s():
    """CPU of this process and of the children that it waited for."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


def summary(rounds, prefix, items):
    medians = {name: statistics.median(all) for name, all in rounds.items()}
    return {
        f"{prefix}ms_an_item": {name: round(1000 * median / items, 3) for name, median in medians.items()},
        f"{prefix}ours_over": {name: round(medians["ours"] / median, 2) for name, median in medians.items() if name != "ours"},
    }


def install_rq(folder):
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "--quiet", RQ_VERSION], check=True)
    return folder / "bin/python"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", default=str(HERE.parent / "target/release/worker"))
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    worker = Path(arguments.worker).resolve()
    items = arguments.items
    with tempfile.TemporaryDirectory(prefix="overhead-") as base:
        base = Path(base)
        peers = {
            "bare": lambda folder: bare(items, folder),
            "queued": lambda folder: bare(items, folder, with_queue=True),
            "ours": lambda folder: ours(worker, items, folder),
        }
        not_run = {}
        if shutil.which("parallel"):
            peers["parallel"] = lambda folder: parallel(items, folder)
        else:
            not_run["parallel"] = "GNU parallel is not installed"
        redis = None
        if shutil.which("redis-server"):
            try:
                python = install_rq(base / "rq")
                redis = Redis().__enter__()
                peers["rq"] = lambda _: rq(items, python, "rq.Worker", redis)
                peers["rq_without_fork"] = lambda _: rq(items, python, "rq.SimpleWorker", redis)
            except subprocess.CalledProcessError as error:
                not_run["rq"] = f"it cannot be installed: {error}"
        else:
            not_run["rq"] = "redis-server is not installed"
        took = {name: [] for name in peers}
        cpu = {name: [] for name in peers}
        for number in range(arguments.repeats):
            for name, peer in peers.items():
                folder = base / f"{name}-{number}"
                folder.mkdir()
                before = cpu_s()
                took[name].append(peer(folder))
                cpu[name].append(cpu_s() - before)
            print(json.dumps({"round": number, **{name: round(all[-1], 3) for name, all in took.items()}}), flush=True)
        print(json.dumps({
            "bench": "overhead",
            "items": items,
            **summary(took, "", items),
            **summary(cpu, "cpu_", items),
            "not_run": not_run,
            "load": os.getloadavg(),
        }))
        if redis:
            redis.__exit__()


if __name__ == "__main__":
    main()
