"""RQ: `python rq_peer.py fill JOBS`; its own program works."""

import os
import sys
from pathlib import Path

from redis import Redis
from rq import Queue


def job(mark):
    if mark:
        Path(mark).touch()


if __name__ == "__main__":
    jobs = int(sys.argv[2])
    queue = Queue("bench", connection=Redis.from_url(os.environ["PEER_REDIS"]))
    marks = {jobs // 10: "begin", jobs - 1: "end"}
    queue.enqueue_many([Queue.prepare_data("rq_peer.job", (marks.get(number, ""),)) for number in range(jobs)])
