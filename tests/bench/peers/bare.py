"""What the engine is measured against: one Celery task that does the same calls and keeps nothing.

No row, no lease, no intent, no audit: a killed worker loses the onboarding, a lost answer doubles an object.
"""

import os
from itertools import chain

from celery import Celery

from tests.bench.peers import calls

app = Celery("bare", broker=os.environ["REDIS_URL"])
app.conf.update(task_default_queue="bare", task_ignore_result=True, worker_prefetch_multiplier=1)
app.conf.update(worker_enable_remote_control=False)


@app.task(name="bare.onboard")
def onboard(content: calls.Content) -> None:
    found: calls.Found = {}
    for step in (*calls.FIRST, *chain.from_iterable(calls.BRANCHES), *calls.LAST):
        found[step] = calls.do(step, content, found)
