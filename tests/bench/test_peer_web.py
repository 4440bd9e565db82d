"""The web that the benchmark puts in front of a peer answers as ours does, and hands over what was posted, once."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from onboarding.api.authentication import new_key
from onboarding.enums import Scope
from onboarding.models import ApiKey
from tests import servers
from tests.bench.contenders import PYTHON, Peer, children, content, door
from tests.bench.processes import call, running
from tests.processes.installation import free_port, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

READ_QUEUE = """
import json, os
from dbos import DBOSClient
found = DBOSClient(system_database_url=os.environ["BENCH_DBOS"]).list_workflows()
print(json.dumps([[each.workflow_id, each.name, each.status, *each.input["args"]] for each in found]))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a peer that works in order, with a database of its own; the keys are in that of the tests."""
    name = connection.settings_dict["NAME"]
    server = os.environ.get("DATABASE_URL", "").rpartition("/")[0]
    mine = {
        "DATABASE_URL": f"{server}/{name}" if server else f"sqlite:///{name}",
        "BENCH_DBOS": f"sqlite:///{tmp_path / 'dbos.sqlite3'}",
        "BENCH_PEER": "in_order",
    }
    call([PYTHON, "-m", "tests.bench.peers.durable", "prepare"], mine)
    return mine


@pytest.fixture
def peer(environment: dict[str, str]) -> Iterator[Peer]:
    """Its web alone, so that what is handed over stays in the queue."""
    assert servers.servers
    key, _ = new_key("bench", Scope.OPERATE)
    port = free_port()
    with running(servers.servers, {"door": door(children({"PORT": str(port)}))}, environment) as (pid,):
        made = Peer(name="dbos in order", port=port, key=key, workers=[], web=pid)
        wait_for("the web of the peer is ready", made.is_ready)
        yield made


def test_the_web_of_a_peer_takes_and_refuses_what_ours_does_and_hands_an_onboarding_over_once(
    peer: Peer, environment: dict[str, str]
) -> None:
    paid = content("acme")
    assert dataclasses.replace(peer, key="").post(paid) == 401
    assert dataclasses.replace(peer, key="unknown").post(paid) == 401
    assert peer.post({**paid, "onboarding_transaction_id": ""}) == 400
    assert [peer.post(paid), peer.post(paid)] == [201, 200]
    ApiKey.objects.update(revoked_at=timezone.now())
    assert peer.post(content("late")) == 401

    told = call([PYTHON, "-c", READ_QUEUE], environment)
    assert json.loads(told.splitlines()[-1]) == [["acme", "in_order", "ENQUEUED", paid]]
