"""Benchmarks of whole programs, each a ratio or a bound taken in one go: one line of JSON a benchmark.

    python benches/run.py WHAT... [--worker target/release/worker] [--data ../shared/data]

WHAT: tutorial pipeline start memory recovery goodput scale. `just bench-...` runs them; BENCHMARKS.md has
what was seen. The machine's load before and after is part of every line: figures of a busy machine
are worth little.
"""

import argparse
import atexit
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROUNDS_A_MS = 12_000  # rounds of extra work that take about a millisecond on an idle core (`--work-rounds`)


class Bench:
    def __init__(self, arguments):
        program, *more = arguments.worker.split()
        self.worker = [str(Path(program).resolve()), *more]
        self.data = Path(arguments.data).resolve()
        self.repeats = arguments.repeats
        self.days = arguments.days
        self.features = arguments.features

    def volume(self):
        return Volume(self.worker)

    def needs(self, name):
        folder = self.data / name
        if not folder.is_dir():
            sys.exit(f"SKIPPED: {folder} is missing; give its parent by --data")
        return folder

    def handbook(self, volume, first, last, tests=("2018-08-08", "2018-08-14"), history=True):
        """Links the handbook's days into a volume and lists them."""
        for file in sorted(self.needs("handbook").glob("*.parquet")):
            day = file.stem
            if first <= day <= last:
                volume.add(file, "training")
            elif tests[0] <= day <= tests[1]:
                volume.add(file, "testing")
            elif history and last < day < tests[0]:
                volume.add(file, "history")
        volume.write_list()
        return volume


class Volume:
    """A volume in a folder that goes away with the program: not before, since ext4 takes its time to go round
    the inodes of files that were deleted in the last minute, and the next run would be a tenth slower."""

    def __init__(self, worker):
        self.worker, self.paths = worker, []
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    def add(self, file, role):
        path = f"datasets/{role}/{file.name}"
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, self.folder / path)
        self.paths.append(path)

    def write_list(self):
        (self.folder / "list.txt").write_text("\n".join(self.paths))

    def start(self, *more, name="w", queue="sqlite", listed=True):
        command = [*self.worker, "run", "--volume", self.folder, "--queue", queue, "--name", name, "--created", "now"]
        command += (["--run", "bench", "--list", "list.txt"] if listed else []) + list(more)
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=os.environ | {"WORKER_LOG": "events"})

    def events(self):
        """All events so far; a torn tail is left out."""
        for file in self.folder.glob("runs/*/events/*.jsonl"):
            for line in file.read_text().splitlines():
                try:
                    yield json.loads(line)
                except ValueError:
                    pass

    def seconds_by_stage(self):
        """Sum over the workers of the time from claim to acknowledgement."""
        spent, claimed = defaultdict(float), {}
        for event in self.events():
            key = event["worker"], event.get("item"), event.get("token")
            if event["event"] == "claimed":
                claimed[key] = event["at_ms"]
            elif event["event"] in ("acked", "gave_back") and key in claimed:
                spent[key[1].split("/")[0]] += (event["at_ms"] - claimed.pop(key)) / 1000
        return {stage: round(seconds, 3) for stage, seconds in sorted(spent.items())}

    def outputs(self):
        return {file.name: file.read_bytes() for file in sorted((self.folder / "output").iterdir())}


def seconds(start):
    """From the start of processes until all have ended well; the disk owes nothing of what was before."""
    os.sync()
    began = time.perf_counter()
    for process in start():
        if process.wait() != 0:
            sys.exit(f"failed: a worker ended with {process.returncode}")
    return time.perf_counter() - began


def wait(process):
    """Waits, and returns exit status, CPU seconds and peak memory in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def middle(values):
    return round(statistics.median(values), 4)


class Redis:
    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="bench-redis-")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()
        return self

    def start(self):
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        while subprocess.run(["redis-cli", "-p", str(self.port), "PING"], capture_output=True).returncode:
            time.sleep(0.01)

    def cli(self, *command):
        return subprocess.check_output(["redis-cli", "-p", str(self.port), *command], text=True).strip()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def tutorial(bench):
    """The tutorial's four days and its test day, from the process's start to its end."""
    sample_s = 2.45  # the tutorial's own worker on two cores, 2 s of it imports (measured elsewhere)

    def once(queue):
        with bench.volume() as volume:
            for file in sorted(bench.needs("tutorial").glob("*.pkl")):
                volume.add(file, "testing" if "test" in file.name else "training")
            paths = [path for path in volume.paths if "training" in path]
            push = [*bench.worker, "push", "--volume", str(volume.folder), "--queue", queue, *paths]
            subprocess.run(push, check=True, stdout=subprocess.DEVNULL)
            return seconds(lambda: [volume.start(queue=queue, listed=False)])

    found = {"sqlite_s": middle([once("sqlite") for _ in range(bench.repeats)])}
    with Redis() as redis:
        times = []
        for _ in range(bench.repeats):
            redis.cli("FLUSHALL")
            times.append(once(redis.url))
        found["redis_s"] = middle(times)
    return found | {f"times_faster_{queue}": round(sample_s / found[f"{queue}_s"], 1) for queue in ("sqlite", "redis")}


def pipeline(bench):
    """122 days with two workers, from Parquet to the evaluated model, beside the numpy peer: which evaluates the
    last day's model, and then, as ours do, the model of each day."""
    ours, peer, peer_each, stages = [], [], [], {}
    for _ in range(bench.repeats):
        with bench.handbook(bench.volume(), "2018-04-01", "2018-07-31") as volume:
            chosen = "--param", f"features={bench.features}"
            ours.append(seconds(lambda: [volume.start(*chosen, name=f"w{number}") for number in range(2)]))
            stages = volume.seconds_by_stage()
        command = [sys.executable, str(HERE / "peer/fraud.py"), str(bench.needs("handbook"))]
        command += ["--features", bench.features]
        peer.append(json.loads(subprocess.check_output(command))["total_s"])
        peer_each.append(json.loads(subprocess.check_output([*command, "--each-day"]))["total_s"])
    return {
        "ours_s": middle(ours),
        "peer_s": middle(peer),
        "times_faster": round(statistics.median(peer) / statistics.median(ours), 2),
        "peer_each_day_s": middle(peer_each),
        "times_faster_each_day": round(statistics.median(peer_each) / statistics.median(ours), 2),
        "ours_stages_worker_s": stages,
    }


def start(bench):
    """From spawn to the first claim, on a run that is ready; in milliseconds."""
    found = []
    with bench.handbook(bench.volume(), "2018-04-01", "2018-05-31") as volume:
        first = volume.start("--work-rounds", str(10_000 * ROUNDS_A_MS))
        until(lambda: any(event["event"] == "committed" for event in volume.events()) or claims(volume))
        first.kill()
        first.wait()
        for number in range(20):
            name = f"s{number}"
            began = time.time()
            process = volume.start(name=name)
            claim = until(lambda: [event for event in claims(volume) if event["worker"] == name])[0]
            process.kill()
            process.wait()
            found.append(claim["at_ms"] - began * 1000)
    return {"ms_median": middle(found), "ms_least": round(min(found), 1), "ms_most": round(max(found), 1)}


def claims(volume):
    return [event for event in volume.events() if event["event"] == "claimed" and "/" in event["item"]]


def until(look, timeout_s=60):
    deadline = time.time() + timeout_s
    while time.time() < deadline:
        if found := look():
            return found
        time.sleep(0.002)
    sys.exit(f"failed: found nothing within {timeout_s} s")


def memory(bench):
    """Peak memory of one worker on the tutorial's days and on 122 days."""
    found = {}
    with bench.volume() as volume:
        for file in sorted(bench.needs("tutorial").glob("*.pkl")):
            volume.add(file, "testing" if "test" in file.name else "training")
        volume.write_list()
        found["tutorial_mb"] = round(wait(volume.start())[2], 1)
    with bench.handbook(bench.volume(), "2018-04-01", "2018-07-31") as volume:
        found["days_122_mb"] = round(wait(volume.start())[2], 1)
    return found


def recovery(bench):
    """Seconds from a signal until another worker starts the same item, and how many effects."""
    found = {}
    for lease in ("5s", "1s"):
        for kind in ("SIGKILL", "SIGTERM", "SIGSTOP"):
            found[f"{kind}, lease {lease}"] = [recover(bench, getattr(signal, kind), lease) for _ in range(bench.repeats)]
    effects = {effects for tries in found.values() for _, effects in tries}
    return {name: middle([s for s, _ in tries]) for name, tries in found.items()} | {"effects": sorted(effects)}


def recover(bench, number, lease):
    with bench.handbook(bench.volume(), "2018-04-01", "2018-04-02", tests=("none", "none"), history=False) as volume:
        # An item that does not fit in the grace is released: with a longer grace the worker would finish it.
        more = ["--lease", lease, "--grace", "1s", "--work-rounds", str(3_000 * ROUNDS_A_MS)]
        hurt = volume.start(*more, name="hurt")
        item = until(lambda: claims(volume))[0]["item"]
        other = volume.start(*more, name="other")
        until(lambda: [event for event in claims(volume) if event["worker"] == "other"])
        # Two datasets, and a third worker that is idle until an item is redelivered to it.
        third = volume.start(*more, name="third")
        time.sleep(0.5)
        began = time.time()
        hurt.send_signal(number)
        again = lambda: [e for e in claims(volume) if e["item"] == item and e["worker"] != "hurt"]
        taken = until(again)[0]["at_ms"] / 1000 - began
        if number == signal.SIGSTOP:
            time.sleep(1)
            hurt.send_signal(signal.SIGCONT)
        for process in (hurt, other, third):
            process.wait()
        won = [e for e in volume.events() if e["event"] == "committed" and e["item"] == item and e["won"]]
        return taken, len(won)


def goodput(bench):
    """Work with a preemption of each worker every two seconds, over the work without."""
    more = ["--work-rounds", str(200 * ROUNDS_A_MS)]

    def undisturbed():
        with bench.handbook(bench.volume(), "2018-04-01", bench.days) as volume:
            workers = [volume.start(*more, name=f"w{number}") for number in range(2)]
            spent = sum(wait(worker)[1] for worker in workers)
            return spent, volume.outputs()

    def preempted():
        with bench.handbook(bench.volume(), "2018-04-01", bench.days) as volume:
            preemptions = Counter()
            running = {number: (volume.start(*more, name=f"w{number}"), time.time() + 1 + number) for number in range(2)}
            while running:
                time.sleep(0.02)
                for number, (process, due) in list(running.items()):
                    if process.poll() is None and time.time() < due:
                        continue
                    if process.returncode is None:
                        kind = ("SIGTERM", "SIGKILL")[preemptions.total() % 2]
                        preemptions[kind] += 1
                        process.send_signal(getattr(signal, kind))
                        process.wait()
                        running[number] = volume.start(*more, name=f"w{number}"), time.time() + 2
                    elif process.returncode == 0:
                        del running[number]
                    else:
                        sys.exit(f"failed: a worker ended with {process.returncode}")
            return volume.outputs(), dict(preemptions)

    def children():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    plain_s, plain = undisturbed()
    before = children()
    disturbed, preemptions = preempted()
    spent = children() - before
    return {
        "undisturbed_cpu_s": round(plain_s, 2),
        "preempted_cpu_s": round(spent, 2),
        "ratio": round(spent / plain_s, 3),
        "preemptions": preemptions,
        "outputs_equal": plain == disturbed,
    }


def scale(bench):
    """Many small datasets and 16 workers: the time an item takes by tenths of the run, memory, start."""
    count = int(os.environ.get("SCALE_DATASETS", "20000"))
    fixtures = os.environ.get("FIXTURES", str(Path(bench.worker[0]).parent / "fixtures"))
    with bench.volume() as volume:
        folder = volume.folder / "datasets/training"
        subprocess.run(
            [fixtures, "generate", "--preset", "small", "--days", str(count), "--format", "parquet", "--out", folder],
            check=True, stdout=subprocess.DEVNULL,
        )
        volume.paths = sorted(f"datasets/training/{file.name}" for file in folder.iterdir())
        volume.write_list()
        began = time.time()
        workers = [volume.start(name=f"w{number}") for number in range(16)]
        used = [wait(worker) for worker in workers]
        total = time.time() - began
        peaks = {f"w{number}": round(mb, 1) for number, (_, _, mb) in enumerate(used)}
        events = list(volume.events())
        acked = sorted(event["at_ms"] for event in events if event["event"] == "acked")
        stages = Counter(event["item"].split("/")[0] for event in events if event["event"] == "acked")
        reporters = [event["worker"] for event in events if event["event"] == "reported"]
        tenth = len(acked) // 10
        per_item = [(acked[(k + 1) * tenth - 1] - acked[k * tenth]) / tenth for k in range(10)]
        again = time.time()
        wait(volume.start(name="late"))
        return {
            "datasets": len(volume.paths),
            "seconds": round(total, 1),
            "acknowledged": dict(stages),
            "ms_per_item_by_tenth": [round(ms, 2) for ms in per_item],
            "peak_mb": max(peaks.values()),
            "peak_mb_median": middle(peaks.values()),
            "peak_mb_of_the_reporter": max((peaks[name] for name in reporters), default=None),
            "cpu_s": round(sum(cpu for _, cpu, _ in used), 1),
            "start_of_a_late_worker_s": round(time.time() - again, 3),
        }


BENCHES = [tutorial, pipeline, start, memory, recovery, goodput, scale]


def main():
    names = {bench.__name__: bench for bench in BENCHES}
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", nargs="+", choices=names)
    default = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")) / "release/worker"
    arguments.add_argument("--worker", default=str(default), help="the program; `target/release/sim worker` is one too")
    arguments.add_argument("--data", default=os.environ.get("FRAUD_DATA", str(HERE.parent.parent / "shared/data")))
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--features", default="blend", help="the workload's set in pipeline")
    arguments.add_argument("--days", default="2018-07-31", help="last training day of goodput")
    arguments = arguments.parse_args()
    for what in arguments.what:
        before = os.getloadavg()[0]
        found = names[what](Bench(arguments))
        load = {"load_before": round(before, 1), "load_after": round(os.getloadavg()[0], 1)}
        print(json.dumps({"bench": what} | found | load), flush=True)


if __name__ == "__main__":
    main()
