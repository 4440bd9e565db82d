"""Playbook files: what is refused at start-up, and which one serves a payload."""

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from integrations.connections.uses import problems_by_connection
from integrations.connectors import registry as providers
from integrations.connectors.registry import PROVIDERS, ProviderInfo
from integrations.models import Connection
from onboarding import checks
from onboarding.models import PinnedPlaybook
from onboarding.playbooks import playbook
from onboarding.playbooks.playbook import BUILT_IN, PlaybookError, choose, load, pin, playbooks

HEAD = 'name = "{name}"\nversion = "1"\nowner = "revenue-operations"\n'
ACCOUNT = '[[steps]]\nkey = "account"\nuses = "crm.account"\n'
PROJECT = '[[steps]]\nkey = "project"\nuses = "delivery.project"\nafter = ["account"]\n'


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


def write(folder: Path, *parts: str, name: str = "mine", file: str = "mine.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    path.write_text(HEAD.format(name=name) + "\n".join(parts))
    return path


def test_the_built_in_ones_are_sound() -> None:
    assert "standard" in playbooks()
    assert checks.playbooks_are_sound() == []


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    made = load(write(tmp_path, ACCOUNT, PROJECT))
    assert [step.key for step in made.steps] == ["account", "project"]
    assert made.ancestors("project") == {"account"}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([ACCOUNT.replace("crm.account", "crm.magic")], "uses crm.magic, which no handler is called"),
        ([ACCOUNT, ACCOUNT], "step account is listed twice"),
        ([ACCOUNT, PROJECT.replace('["account"]', '["ghost"]')], "comes after ghost, which is not a step"),
        ([ACCOUNT + 'after = ["project"]\n', PROJECT], "the steps go in a circle"),
        ([ACCOUNT + 'after = ["account"]\n'], "the steps go in a circle"),
        ([ACCOUNT, PROJECT.replace('after = ["account"]\n', "")], "step project needs crm.account before it"),
        ([PROJECT.replace('after = ["account"]\n', "")], "step project needs crm.account before it"),
        ([ACCOUNT + 'queue = "nobody"\n'], "names the queue nobody, which does not exist"),
        (
            [ACCOUNT + 'colour = "red"\n'],
            "steps #1 (account).colour: is not known here; known are after, key, queue, uses, with",
        ),
        (["steps = []\n"], "steps: "),
        (["nonsense"], "mine.toml: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_run_is_refused_with_the_file_and_the_reason(tmp_path: Path, parts: list[str], words: str) -> None:
    with pytest.raises(PlaybookError, match=r"mine\.toml") as refused:
        load(write(tmp_path, *parts))
    assert words in str(refused.value)


def test_a_refused_file_stops_start_up(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", ACCOUNT, ACCOUNT)
    assert [(message.id, message.level) for message in checks.playbooks_are_sound()] == [("onboarding.E001", 40)]


def test_a_companys_own_file_wins_by_name(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", ACCOUNT, name="standard")
    assert [step.key for step in playbooks()["standard"].steps] == ["account"]
    assert set(playbooks()) == {load(path).name for path in BUILT_IN.glob("*.toml")}


def test_two_files_of_one_name_are_refused(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", ACCOUNT)
    write(tmp_path / "playbooks", ACCOUNT, file="other.toml")
    with pytest.raises(PlaybookError, match=r"other\.toml: name: mine\.toml is called mine too"):
        playbooks()


def test_playbook_naming_the_plan_takes_precedence(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", 'plans = ["pro"]', ACCOUNT)
    assert (chosen := choose({"commercial": {"plan_sku": "pro"}})) is not None
    assert chosen.playbook.name == "mine"
    assert (other := choose({"commercial": {"plan_sku": "basic"}})) is not None
    assert other.playbook.name == "standard"


def test_a_changed_file_pins_a_new_row(db: None, tmp_path: Path) -> None:
    first = load(write(tmp_path, ACCOUNT))
    assert pin(first).pk == pin(first).pk
    second = load(write(tmp_path, ACCOUNT, PROJECT))
    assert pin(second).content_hash != first.content_hash
    assert PinnedPlaybook.objects.count() == 2


def test_each_handler_is_used_by_its_own_name() -> None:
    assert all(name == handler.name for name, handler in playbook.registry.HANDLERS.items())
    with pytest.raises(ValueError, match=r"two step handlers are called crm\.account"):
        playbook.registry.register(type(playbook.registry.HANDLERS["crm.account"]))


@pytest.mark.parametrize("segment", ["Enterprise", "ENTERPRISE ", "enterprise"])
def test_names_that_people_type_are_compared_without_regard_to_case(
    tmp_path: Path, settings: Any, segment: str
) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", 'segments = ["enterprise"]', ACCOUNT)
    assert (chosen := choose({"customer": {"segment": segment}})) is not None
    assert chosen.playbook.name == "mine"
    assert chosen.reason == "It serves every plan and the segment “enterprise”."


def test_a_missing_segment_is_named_where_it_decided_the_playbook(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", 'segments = ["enterprise"]', ACCOUNT)
    assert (chosen := choose({"customer": {"segment": ""}})) is not None
    assert chosen.playbook.name == "standard"
    assert "The payload names no segment; with one it might have been mine (segment “enterprise”)." in chosen.reason


# --- What the vendors can do ------------------------------------------------------------------------------------------


@pytest.fixture
def built_in_alone(settings: Any) -> None:
    settings.CONFIG_DIR = None


def without(provider: str, *kinds: str) -> ProviderInfo:
    known = PROVIDERS[provider]
    return replace(known, kinds=tuple(each for each in known.kinds if each.kind not in kinds))


@pytest.mark.usefixtures("built_in_alone")
def test_the_standard_playbook_asks_for_what_vendors_have() -> None:
    assert checks.playbooks_ask_for_what_vendors_have() == []


@pytest.mark.usefixtures("built_in_alone")
def test_a_step_that_no_vendor_of_its_system_can_do_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(providers._providers, "asana", without("asana", "task"))
    found = checks.playbooks_ask_for_what_vendors_have()
    assert {(each.id, each.level) for each in found} == {("onboarding.E007", 40)}
    assert "needs a task, which asana does not have." in found[0].msg


@pytest.mark.usefixtures("built_in_alone")
def test_a_step_that_updates_what_no_vendor_can_update_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    known = PROVIDERS["hubspot"]
    fixed = tuple(replace(each, updatable=each.kind != "deal") for each in known.kinds)
    monkeypatch.setitem(providers._providers, "hubspot", replace(known, kinds=fixed))
    (found,) = checks.playbooks_ask_for_what_vendors_have()
    assert found.msg.endswith("updates a deal, which hubspot cannot.")


@pytest.mark.usefixtures("built_in_alone")
def test_a_system_that_no_vendor_is_of_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor can be removed by deleting its folder: the rest starts."""
    monkeypatch.delitem(providers._providers, "zendesk")
    found = checks.playbooks_ask_for_what_vendors_have()
    assert {(each.id, each.level) for each in found} == {("onboarding.W002", 30)}


@pytest.mark.usefixtures("built_in_alone")
def test_the_doctor_names_the_steps_that_a_connections_provider_cannot_do(
    hubspot: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(providers._providers, "hubspot", without("hubspot", "note"))
    (problem,) = problems_by_connection()[hubspot.pk]
    assert problem.endswith("needs a note, which hubspot does not have.")
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("doctor", stdout=out, no_color=True, skip_checks=True)
    assert problem in out.getvalue()
