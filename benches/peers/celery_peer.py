"""Celery: `python celery_peer.py fill JOBS`; its own program works."""

import os
import sys
from pathlib import Path

from celery import Celery

app = Celery("bench", broker=os.environ["PEER_REDIS"])


@app.task(ignore_result=True)
def job(mark):
    if mark:
        Path(mark).touch()


if __name__ == "__main__":
    jobs = int(sys.argv[2])
    marks = {jobs // 10: "begin", jobs - 1: "end"}
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(jobs):
            app.send_task("celery_peer.job", (marks.get(number, ""),), producer=producer)
