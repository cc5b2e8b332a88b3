"""The Redis queue's claims and acknowledgements a second, beside the same two scripts through
redis-benchmark, at 1 and at 16 connections: one line of JSON.

    python benches/redis_queue.py BENCH [JOBS]

BENCH is the program that `cargo bench -p queues --bench queue --no-run` names. A job is a claim and an
acknowledgement that names a next item, so that the server's own bound is 1 / (1 / claims + 1 / acks).
"""

import json
import os
import re
import subprocess
import sys

from run import Redis

CLAIMED_PREFIX = "bench:claim"
ACKED_PREFIX = "bench:ack"

# Items that the owner `1:n` holds, named as redis-benchmark will name them.
FILL_HELD = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local item = string.format('prepare/%012d', i)
    redis.call('HSET', KEYS[1], item, '1:n 4 60000 0 0 bench')
    redis.call('ZADD', KEYS[2], 1e15, item)
end
"""
FILL_PENDING = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    redis.call('ZADD', KEYS[1], 4 + 4 * i, 'prepare/' .. i)
end
"""
HELD = 400_000


def scripts(bench):
    text = subprocess.run([bench], capture_output=True, text=True, check=True).stdout
    _, claim, ack = re.split(r"^-- (?:claim|ack)\n", text, flags=re.M)
    return claim, ack


def fill(redis, script, keys, count):
    for first in range(0, count, 20_000):
        redis.cli("EVAL", script, str(len(keys)), *keys, str(first), str(first + 19_999))


def rate(redis, connections, requests, *command):
    """Calls a second, by redis-benchmark."""
    arguments = ["redis-benchmark", "-p", str(redis.port), "-c", str(connections), "-n", str(requests), "--csv"]
    out = subprocess.check_output([*arguments, "-r", str(HELD), *command], text=True)
    return float(out.strip().splitlines()[-1].split(",")[1].strip('"'))


def bound(redis, claim, ack, connections, jobs):
    redis.cli("FLUSHALL")
    keys = [f"{CLAIMED_PREFIX}:{name}" for name in ("pending", "processing", "leases", "token")]
    fill(redis, FILL_PENDING, keys[:1], jobs + 20_000)
    claims = rate(redis, connections, jobs, "EVALSHA", claim, "4", *keys, "nonce", "bench", "60000")
    keys = [f"{ACKED_PREFIX}:{name}" for name in ("pending", "processing", "leases")]
    fill(redis, FILL_HELD, keys[2:0:-1], HELD)
    held = redis.cli("ZCARD", keys[1])
    acks = rate(redis, connections, jobs, "EVALSHA", ack, "3", *keys, "prepare/__rand_int__", "1:n", "5", "join/7")
    lost = jobs - (int(held) - int(redis.cli("ZCARD", keys[1])))
    return claims, acks, lost / jobs


def main():
    bench, jobs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40_000
    found = {}
    with Redis() as redis:
        claim, ack = (redis.cli("SCRIPT", "LOAD", text) for text in scripts(bench))
        for connections in (1, 16):
            claims, acks, lost = bound(redis, claim, ack, connections, jobs)
            found |= {
                f"claims_per_s_{connections}": round(claims),
                f"acks_per_s_{connections}": round(acks),
                f"acks_lost_share_{connections}": round(lost, 3),
                f"bound_jobs_per_s_{connections}": round(1 / (1 / claims + 1 / acks)),
            }
        redis.cli("FLUSHALL")
        ours = json.loads(subprocess.check_output([bench, redis.url, str(jobs)], text=True))
    for connections in (1, 16):
        found[f"ours_jobs_per_s_{connections}"] = ours[f"jobs_per_s_{connections}"]
        ratio = ours[f"jobs_per_s_{connections}"] / found[f"bound_jobs_per_s_{connections}"]
        found[f"ratio_{connections}"] = round(ratio, 3)
    print(json.dumps({"bench": "queue"} | found | {"load": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
