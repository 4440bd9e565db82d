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
            (
                "steps #1 (account).colour: is not known here; "
                "known are after, deadline_hours, key, mode, queue, uses, waits_for, when, with"
            ),
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


def install_alone(info: ProviderInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the only vendor of its systems."""
    for name, other in list(PROVIDERS.items()):
        if set(other.systems) & set(info.systems):
            monkeypatch.delitem(providers._providers, name)
    monkeypatch.setitem(providers._providers, info.name, info)


@pytest.mark.usefixtures("built_in_alone")
def test_the_standard_playbook_asks_for_what_vendors_have() -> None:
    assert checks.playbooks_ask_for_what_vendors_have() == []


@pytest.mark.usefixtures("built_in_alone")
def test_a_step_that_no_vendor_of_its_system_can_do_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install_alone(without("asana", "task"), monkeypatch)
    found = checks.playbooks_ask_for_what_vendors_have()
    assert {(each.id, each.level) for each in found} == {("onboarding.E007", 40)}
    assert "needs a task, which asana does not have." in found[0].msg


@pytest.mark.usefixtures("built_in_alone")
def test_a_step_that_updates_what_no_vendor_can_update_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    known = PROVIDERS["hubspot"]
    fixed = tuple(replace(each, updatable=each.kind != "deal") for each in known.kinds)
    install_alone(replace(known, kinds=fixed), monkeypatch)
    found = checks.playbooks_ask_for_what_vendors_have()
    assert len(found) == len(playbooks())
    assert all(each.msg.endswith("updates a deal, which hubspot cannot.") for each in found)


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
    problem, *others = problems_by_connection()[hubspot.pk]
    assert len(others) == len(playbooks()) - 1
    assert problem.endswith("needs a note, which hubspot does not have.")
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("doctor", stdout=out, no_color=True, skip_checks=True)
    assert problem in out.getvalue()


# --- Conditions, scopes, modes ----------------------------------------------------------------------------------------


APPROVAL = '[[steps]]\nkey = "ok"\nuses = "approval"\nwith = { question = "Fine?" }\n'


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([ACCOUNT + 'when = { "customer.segmnt" = "x" }\n'], "step account: when: customer.segmnt is no field"),
        (
            [ACCOUNT + 'when = { "customer.segment" = "x" }\n', PROJECT],
            "step project needs crm.account, which is only done where Segment is “x”: it must have that condition too",
        ),
        ([ACCOUNT + 'waits_for = "tenant.ready"\n'], "waits for tenant.ready, which is no event of a run"),
        ([ACCOUNT + 'mode = "watch"\n'], "“watch” must be observe, assist or automate"),
        (['mode = "auto"\n', ACCOUNT], "“auto” must be observe, assist or automate; did you mean “automate”?"),
        (['requires = ["customer.vat"]\n', ACCOUNT], "requires: customer.vat is no field of the payload"),
        (["amounts = { EURO = { at_least = 3 } }\n", ACCOUNT], "“EURO” must be a currency of three letters"),
        (["amounts = { EUR = { from = 3 } }\n", ACCOUNT], "amounts.EUR knows no from"),
        ([APPROVAL.replace('question = "Fine?"', "")], "approval needs a question"),
        ([APPROVAL.replace("Fine?", 'Fine?", event = "contract.aproved')], "did you mean “contract.approved”?"),
        ([APPROVAL.replace('"Fine?"', '"Fine?", business_hours = 0')], "business_hours must be a whole number from 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsound_terms_are_refused(tmp_path: Path, parts: list[str], words: str) -> None:
    with pytest.raises(PlaybookError) as refused:
        load(write(tmp_path, *parts))
    assert words in str(refused.value)


def chosen_for(plan: str = "pro", amount: float | None = None, currency: str = "EUR") -> str:
    choice = choose({"commercial": {"plan_sku": plan, "amount": amount, "currency": currency}})
    assert choice is not None
    return choice.playbook.name


def test_the_amount_chooses_by_currency(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    bounds = "amounts = { EUR = { at_least = 50000, below = 90000 }, usd = { at_least = 55000 } }\n"
    write(tmp_path / "playbooks", bounds, ACCOUNT)
    assert chosen_for(amount=50000) == chosen_for(amount=89999.99) == chosen_for(amount=60000, currency="USD") == "mine"
    assert (
        chosen_for(amount=49999.99)
        == chosen_for(amount=90000)
        == chosen_for(amount=99999, currency="GBP")
        == "standard"
    )
    assert chosen_for() == "standard"
    choice = choose({"commercial": {"amount": 50000, "currency": "eur"}})
    assert choice is not None
    assert choice.reason.endswith("for at least 50,000 and below 90,000 EUR or at least 55,000 usd.")


def test_two_amounts_that_overlap_are_refused_and_those_that_meet_are_not(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", "amounts = { EUR = { at_least = 100 } }\n", ACCOUNT)
    write(tmp_path / "playbooks", "amounts = { EUR = { below = 100 } }\n", ACCOUNT, name="small", file="small.toml")
    assert chosen_for(amount=99) == "small"
    write(tmp_path / "playbooks", "amounts = { EUR = { below = 101 } }\n", ACCOUNT, name="small", file="small.toml")
    playbooks.cache_clear()
    with pytest.raises(
        PlaybookError, match=r"small\.toml: serves every plan and .* for 100 EUR, and so does mine\.toml"
    ):
        playbooks()


def test_priority_goes_before_what_is_named(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", 'plans = ["pro"]\n', ACCOUNT)
    write(tmp_path / "playbooks", "priority = 1\n", ACCOUNT, name="pilot", file="pilot.toml")
    with pytest.raises(PlaybookError, match=r"mine\.toml: is never chosen"):
        playbooks()
    (tmp_path / "playbooks" / "mine.toml").unlink()
    playbooks.cache_clear()
    assert chosen_for() == "pilot"


def test_a_companys_own_goes_before_a_built_in_one_that_names_as_much(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path / "playbooks", 'plans = ["pro"]\n', ACCOUNT)
    choice = choose({"commercial": {"plan_sku": "pro"}, "customer": {"segment": "enterprise"}})
    assert choice is not None
    assert choice.playbook.name == "mine"
    assert chosen_for("basic") == "standard"


# --- The command ------------------------------------------------------------------------------------------------------


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("playbook", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_lists_checks_and_shows(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    conditional = 'when = { "commercial.amount" = { at_least = 5000 } }\nwaits_for = "tenant.provisioned"\n'
    path = write(tmp_path / "playbooks", 'plans = ["pro"]\nrequires = ["customer.country"]\n', ACCOUNT + conditional)
    assert "mine 1: the plan “pro” and every segment; 1 steps" in run_command("list")
    assert run_command("check").endswith(": nothing is wrong.\n")
    assert run_command("check", str(path)) == "mine.toml: nothing is wrong.\n"
    assert run_command("show", "mine").splitlines() == [
        "mine, version 1, owned by revenue-operations",
        "serves the plan “pro” and every segment",
        "requires customer.country",
        "",
        "account (crm.account)",
        "    only where Amount is at least 5,000",
        "    waits for tenant.provisioned",
    ]
    with pytest.raises(CommandError, match=r"There is no playbook min; did you mean “mine”\?"):
        run_command("show", "min")


def test_the_command_tells_what_is_wrong(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    path = write(tmp_path / "playbooks", ACCOUNT, ACCOUNT)
    for arguments in (["check"], ["check", str(path)], ["list"]):
        with pytest.raises(CommandError, match=r"mine\.toml: step account is listed twice"):
            run_command(*arguments)


@pytest.mark.django_db
def test_the_command_compares_with_what_runs_were_started_with(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    before = load(write(tmp_path / "playbooks", 'plans = ["pro"]\n', ACCOUNT))
    with pytest.raises(CommandError, match="No run was started with mine yet"):
        run_command("diff", "mine")
    pin(before)
    assert run_command("diff", "mine") == "mine does the same as the version 1 that runs were last started with.\n"
    scope = 'plans = ["pro"]\nsegments = ["smb"]\n'
    write(tmp_path / "playbooks", scope, ACCOUNT + 'queue = "finance"\n', PROJECT)
    playbooks.cache_clear()
    assert run_command("diff", "mine").splitlines() == [
        "segments: nothing → smb",
        "+ step project (delivery.project)",
        "step account: queue: nothing → finance",
    ]
    assert "- step crm.contact" in run_command("diff", "mine", "standard").splitlines()


@pytest.mark.django_db
def test_the_command_compares_with_the_highest_version(tmp_path: Path, settings: Any) -> None:
    """A company that goes back to an earlier file pins no new row: when a row was made says nothing of its version."""
    settings.CONFIG_DIR = tmp_path
    path = write(tmp_path / "playbooks", 'plans = ["pro"]\n', ACCOUNT)
    text = path.read_text()
    for version in ("10", "9", "2"):
        path.write_text(text.replace('version = "1"', f'version = "{version}"'))
        pin(load(path))
    playbooks.cache_clear()
    assert run_command("diff", "mine") == "version: 10 → 2\n"
