"""A playbook whose first step a workflow tool does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.sandbox.control import SandboxControl
from onboarding.enums import StepState, WaitsFor
from onboarding.models import OnboardingTransaction
from onboarding.playbooks.playbook import playbooks
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, shown, step_of
from tests.support.workflow_tools import connect

PLAYBOOK = """
name = "standard"
version = "1"
owner = "revenue-operations"

[[steps]]
key = "territory"
uses = "workflow.hand_over"
queue = "revenue-operations"
with = { title = "assign the sales territory", minutes = 60, fields = ["customer.legal_name", "commercial.plan_sku"] }

[[steps]]
key = "crm.account"
uses = "crm.account"
after = ["territory"]
"""


@pytest.fixture
def workflow_playbook(settings: Any, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "standard.toml").write_text(PLAYBOOK)
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.fixture(params=["n8n", "zapier", "make"])
def tool(request: pytest.FixtureRequest, transactional_db: None, sandbox: SandboxControl) -> str:
    connect(request.param, sandbox)
    return str(request.param)


@pytest.fixture
def n8n(transactional_db: None, sandbox: SandboxControl) -> str:
    connect("n8n", sandbox)
    return "n8n"


@pytest.fixture
def run(request: pytest.FixtureRequest, accept: Accept, drain: Drain) -> OnboardingTransaction:
    """Handed over, and its report is awaited."""
    request.getfixturevalue("tool" if "tool" in request.fixturenames else "n8n")
    made = accept()
    drain()
    step = step_of(made, "territory")
    assert (step.state, step.waits_for) == (StepState.WAITING, WaitsFor.EVENT), shown(made)
    return made
