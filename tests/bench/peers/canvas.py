"""What the engine is measured against: a Celery canvas, one task a step in the order of the playbook.

Progress lives in the broker and the result backend: a worker that is killed loses its step and with it the onboarding, as
messages are acknowledged early; acknowledged late, it would be done again and its objects be made twice.
"""

import os

from celery import Celery, chain, group
from celery.canvas import Signature

from tests.bench.peers import calls

app = Celery("canvas", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_default_queue="canvas", worker_prefetch_multiplier=1, worker_enable_remote_control=False)


@app.task(name="canvas.step")
def step(found: calls.Found, name: str, content: calls.Content) -> calls.Found:
    return {**found, name: calls.do(name, content, found)}


@app.task(name="canvas.join")
def join(branches: list[calls.Found], name: str, content: calls.Content) -> calls.Found:
    """The first step that needs all branches."""
    found = {key: value for branch in branches for key, value in branch.items()}
    return {**found, name: calls.do(name, content, found)}


def onboarding(content: calls.Content) -> Signature:
    first, last = calls.FIRST, calls.LAST
    branches = group(chain(*(step.s(name, content) for name in branch)) for branch in calls.BRANCHES)
    return chain(
        step.s({}, first[0], content),
        *(step.s(name, content) for name in first[1:]),
        branches,
        join.s(last[0], content),
        *(step.s(name, content) for name in last[1:]),
    )
