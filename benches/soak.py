"""A run of an hour under faults, with datasets pushed all the while: does anything grow that should not?

    python benches/soak.py [--worker target/release/worker] [--fixtures target/release/fixtures] [--minutes 60] [--seed 1]

Four workers share a run through a Redis of their own. One fault each second: SIGKILL, SIGTERM, SIGSTOP past the
lease, all connections to Redis cut, Redis killed and begun again empty. The first worker is only paused and cut off, so
that its memory, descriptors and threads show over the whole time. Some 60 datasets are outstanding at any moment.

A line of JSON each 15 seconds on standard error. At the end the run completes, and its output is compared byte for byte
with that of one worker without faults. The last line has, of each measure, the medians of the first and the last
quarter and the slope per 1,000 datasets. Exit code 1: something grew that should be flat, or went wrong; the folder stays.
"""

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from run import HERE, Redis

WORKERS = 4
OUTSTANDING = 60
MOST = 20_000  # datasets: 100 KiB each on the disk
SAMPLE_S = 15
ENDS_S = 60
STUCK_S = 300  # without a dataset done: leases last a second
FAULTS = {"kill": 40, "terminate": 30, "pause": 20, "cut": 9.5, "redis": 0.5}
FIRST_DAY = datetime.date(2018, 4, 1)
# What a measure may grow by, from the median of the first quarter to that of the last, and for each dataset between.
# A worker keeps the manifest and the hashes of what is committed: some KiB a dataset.
MAY_GROW = {
    "rss_kib": (4096, 2.0),
    "descriptors": (2, 0),
    "threads": (2, 0),
    "attempts": (10, 0),
    "files_a_dataset": (0.5, 0),
    "events_a_start": (0.1, 0),
    "redis_keys": (2, 0),
    "queue_entries": (OUTSTANDING, 0),
    "redis_kib": (512, 0),
}


class Days:
    """Distinct days in order: the rows of ten generated days, again and again, each time under the next date."""

    def __init__(self, fixtures, folder, datasets):
        command = [fixtures, "generate", "--days", "10", "--customers", "30", "--format", "csv", "--out", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.base = [(file.stem, file.read_text()) for file in sorted(folder.glob("*.csv"))]
        self.datasets = datasets
        self.test = self.write("testing", FIRST_DAY - datetime.timedelta(1), 0)

    def write(self, role, day, number):
        stem, text = self.base[number % len(self.base)]
        path = self.datasets / role / f"{day}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(stem, str(day)))
        return f"datasets/{role}/{path.name}"

    def training(self, number):
        return self.write("training", FIRST_DAY + datetime.timedelta(number), number)


class Worker:
    """One of the four places for a worker: one process after the other."""

    def __init__(self, soak, place):
        self.soak, self.place, self.starts = soak, place, 0
        self.start()

    def start(self):
        new_name = self.starts and self.soak.random.random() < 0.5
        self.name = f"w{self.place}-{self.starts}" if new_name or not self.starts else self.name
        self.starts += 1
        self.until, self.state = None, "up"
        command = [*self.soak.command, "--name", self.name]
        with open(self.soak.folder / f"w{self.place}.log", "a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    def suffer(self, fault):
        if fault == "kill":
            self.process.kill()
            self.process.wait()
            self.start()
        elif fault == "terminate":
            self.process.terminate()
            self.state, self.until = "terminated", time.monotonic() + ENDS_S
        elif fault == "pause":
            self.process.send_signal(signal.SIGSTOP)
            self.state, self.until = "paused", time.monotonic() + self.soak.random.uniform(1.2, 3)

    def look(self):
        """What is due: a pause that is over, a worker that ended. Anything else that happens is a finding."""
        code = self.process.poll()
        if code is not None:
            asked = self.state == "terminated" and code in (75, -signal.SIGTERM)  # the latter: it had only just begun
            if code == 0:
                raise Finding("the run is complete too early: nothing was outstanding (more --work-rounds), or a push was lost")
            if not asked and code != 6:  # 6: it came while Redis was away
                raise Finding(f"{self.name} ({self.state}) ended by itself with {code}: see w{self.place}.log")
            if self.place == 0:
                raise Finding(f"{self.name}, which nobody stops, ended with {code}: see w0.log")
            self.soak.ends[code] += 1
            self.start()
        elif self.until and time.monotonic() > self.until:
            if self.state == "terminated":
                raise Finding(f"{self.name} has not ended {ENDS_S} s after SIGTERM")
            self.process.send_signal(signal.SIGCONT)
            self.until, self.state = None, "up"


class Finding(Exception):
    pass


class Soak:
    def __init__(self, arguments, folder, redis):
        self.folder, self.redis = folder, redis
        self.random = random.Random(arguments.seed)
        self.worker = str(Path(arguments.worker).resolve())
        self.volume = folder / "volume"
        self.run = self.volume / "runs/soak"
        self.days = Days(str(Path(arguments.fixtures).resolve()), folder / "days", self.volume / "datasets")
        self.pushed, self.faults, self.ends, self.samples = [], Counter(), Counter(), []
        self.where = ["--volume", self.volume, "--queue", redis.url]
        self.command = [self.worker, "run", *self.where, "--run", "soak", "--created", "soak", "--lease", "1s",
                        "--grace", "500ms", "--work-rounds", str(arguments.work_rounds)]
        self.push(OUTSTANDING)
        self.workers = [Worker(self, place) for place in range(WORKERS)]

    def push(self, count):
        paths = [self.days.training(len(self.pushed) + number) for number in range(count)]
        self.pushed += paths
        if paths:
            self.send(paths)

    def send(self, paths):
        if self.random.random() < 0.5:
            self.redis.cli("RPUSH", "datasets", *paths)
        else:
            subprocess.run([self.worker, "push", *self.where, *paths], check=True, stdout=subprocess.DEVNULL)

    def done(self):
        return count(self.run / "evals")

    def fault(self):
        fault = self.random.choices(list(FAULTS), list(FAULTS.values()))[0]
        able = [w for w in self.workers if w.state == "up" and (w.place or fault == "pause")]
        if fault == "redis":
            self.redis.process.kill()
            self.redis.process.wait()
            self.redis.start()
            self.send(self.pushed[-3 * OUTSTANDING:])  # what was not taken in yet went with it
        elif fault == "cut" or not able:
            fault = "cut"
            self.redis.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        else:
            self.random.choice(able).suffer(fault)
        self.faults[fault] += 1

    def sample(self, began):
        steady = Path("/proc") / str(self.workers[0].process.pid)
        status = dict(line.split(":", 1) for line in (steady / "status").read_text().splitlines())
        done, results = self.done(), sum(count(folder) for folder in self.run.iterdir() if folder.is_dir())
        attempts, events = count(self.run / "attempts"), count(self.run / "events")
        keys = self.redis.cli("KEYS", "*").split()
        sizes = {"list": "LLEN", "hash": "HLEN", "zset": "ZCARD", "set": "SCARD"}
        kinds = [(key, sizes.get(self.redis.cli("TYPE", key))) for key in keys]
        memory = self.redis.cli("INFO", "memory").split("used_memory:")[1].split()[0]
        self.samples.append({
            "s": round(time.monotonic() - began),
            "datasets": done,
            "rss_kib": int(status["VmRSS"].split()[0]),
            "descriptors": count(steady / "fd"),
            "threads": count(steady / "task"),
            "attempts": attempts,
            "files_a_dataset": round((results - attempts - events) / max(done, 1), 3),
            "events_a_start": round(events / sum(worker.starts for worker in self.workers), 3),
            "redis_keys": len(keys),
            "queue_entries": sum(int(self.redis.cli(size, key)) for key, size in kinds if size),
            "redis_kib": int(memory) // 1024,
        })
        print(json.dumps(self.samples[-1]), file=sys.stderr, flush=True)

    def disturb(self, minutes):
        began = next_tick = time.monotonic()
        most, since = 0, began
        while (now := time.monotonic()) < began + 60 * minutes and len(self.pushed) < MOST:
            for worker in self.workers:
                worker.look()
            self.fault()
            done = self.done()
            if done > most:
                most, since = done, now
            elif now > since + STUCK_S:
                raise Finding(f"{most} datasets done, and none more for {STUCK_S} s")
            self.push(max(0, OUTSTANDING - (len(self.pushed) - done)))
            if now - began >= SAMPLE_S * (len(self.samples) + 1):
                self.sample(began)
            next_tick = max(next_tick + 1, time.monotonic() - 1)
            time.sleep(max(0, next_tick - time.monotonic()))

    def complete(self):
        """Nothing is pushed any more, and no fault comes: every worker ends with 0."""
        until = time.monotonic() + 2 * STUCK_S
        for worker in self.workers:
            worker.process.send_signal(signal.SIGCONT)
            if worker.state == "terminated":
                worker.process.wait(ENDS_S)
                worker.start()
        for worker in self.workers:
            try:
                code = worker.process.wait(max(1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Finding(f"{worker.name} has not ended: {self.done()} of {len(self.pushed)} done") from None
            if code:
                raise Finding(f"{worker.name} ended with {code} with no fault any more: see w{worker.place}.log")

    def compare(self):
        report = json.loads((self.volume / "output/report.json").read_text())
        trained = [entry["dataset"] for entry in report["trained"]]
        if trained != [Path(path).name for path in self.pushed] or report["rejected"] or report["refused"]:
            raise Finding(f"pushed {len(self.pushed)}, in the report {len(trained)}, of them {len(set(trained))} distinct, "
                          f"rejected {report['rejected']}, refused {report['refused']}")
        alone = self.folder / "alone"
        shutil.copytree(self.volume / "datasets", alone / "datasets")
        (alone / "list").write_text("\n".join([self.days.test, *self.pushed]))
        command = [self.worker, "run", "--volume", alone, "--run", "soak", "--created", "soak", "--list", "list", "--name", "alone"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        names = sorted(os.listdir(alone / "output"))
        if names != sorted(os.listdir(self.volume / "output")):
            raise Finding("output/ has other files than that of a run that nobody disturbed")
        for name in names:
            if (alone / "output" / name).read_bytes() != (self.volume / "output" / name).read_bytes():
                raise Finding(f"output/{name} differs from that of a run that nobody disturbed")
        return len(names)

    def stop(self):
        for worker in getattr(self, "workers", []):
            worker.process.kill()
            worker.process.wait()


def count(folder):
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


def figures(samples):
    """Of each measure: medians of the first and the last quarter, the slope per 1,000 datasets; and what grew."""
    quarter = max(1, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    median = lambda some, name: statistics.median(sample[name] for sample in some)
    datasets = [sample["datasets"] for sample in samples]
    between = median(last, "datasets") - median(first, "datasets")
    found, grew = {}, []
    for name, (constant, each) in MAY_GROW.items():
        slope = statistics.linear_regression(datasets, [sample[name] for sample in samples]).slope
        found[name] = {"first": median(first, name), "last": median(last, name), "most": max(s[name] for s in samples),
                       "per_1000": round(1000 * slope, 3)}
        if found[name]["last"] > found[name]["first"] + constant + each * between:
            grew.append(name)
    return found, grew


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", default=str(HERE.parent / "target/release/worker"))
    parser.add_argument("--fixtures", default=str(HERE.parent / "target/release/fixtures"))
    parser.add_argument("--minutes", type=float, default=60, help="at least 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work-rounds", type=int, default=4_000_000,
                        help="extra work on each dataset: 0.3 s of CPU; beside builds some 80,000 give enough of them")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    with Redis() as redis:
        soak = None
        try:
            soak = Soak(arguments, folder, redis)
            soak.disturb(arguments.minutes)
            soak.complete()
            files = soak.compare()
            found, grew = figures(soak.samples)
        except Finding as finding:
            sys.exit(f"failed: {finding}\nhint: look into {folder}")
        finally:
            if soak:
                soak.stop()
    print(json.dumps({
        "bench": "soak",
        "minutes": round(soak.samples[-1]["s"] / 60, 1),
        "datasets": len(soak.pushed),
        "faults": dict(soak.faults),
        "starts": sum(worker.starts for worker in soak.workers),
        "ends": dict(soak.ends),
        "files_compared": files,
        **found,
        "grew": grew,
        "load": os.getloadavg(),
    }))
    if grew:
        sys.exit(f"failed: {', '.join(grew)} grew\nhint: look into {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
