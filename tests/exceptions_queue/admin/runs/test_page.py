"""A run's page: its picture, its story, its data, and what each role may do to a run, by real POSTs."""

import ast
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exceptions_queue.admin.ui.timeline import AUDIT_WORDS, timeline_sections
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit, services
from onboarding.engine.locks import locked_run
from onboarding.enums import Status, StepState, WaitsFor
from onboarding.models import OnboardingTransaction, Step, StepPoll
from onboarding.playbooks import playbook
from tests.conftest import GROUPS, Drain
from tests.exceptions_queue.admin.conftest import RUNS, As, Pay, text

pytestmark = pytest.mark.one_database("postgres")
ROOT = Path(__file__).resolve().parents[4]
MAY = {
    "hold": {"sales", "support", "engineer", "finance", "lead"},
    "resume": {"sales", "support", "engineer", "finance", "lead"},
    "cancel": {"lead", "finance"},
    "replay": {"support", "engineer", "lead"},
    "skip": {"support", "lead"},  # the step's ticket is support's
    "rollback": {"engineer", "finance", "lead"},
    "unlink": {"engineer", "lead"},
    "resend": {"sales", "support", "lead"},
}
STEP_OF = {"replay": "crm.account", "skip": "support.organization", "unlink": "crm.account", "resend": "welcome.mail"}
WELCOMING = """
name = "standard"
version = "1"
owner = "tests"
steps = [
  { key = "crm.account", uses = "crm.account" },
  { key = "crm.contact", uses = "crm.contact", after = ["crm.account"] },
  { key = "welcome.mail", uses = "welcome.mail", after = ["crm.contact"] },
]
"""
REASON = {"reason": "The customer asked for it"}


@pytest.fixture
def run(pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], drain: Drain) -> OnboardingTransaction:
    """Its CRM account was found, its support organization is stuck among namesakes."""
    sandbox.seed("hubspot", "companies", [{"name": "Beta Works", "domain": "beta-works.com"}])
    sandbox.seed("zendesk", "organizations", [{"name": "Beta Works"}])
    made = pay("beta")
    drain()
    return OnboardingTransaction.objects.get(pk=made.pk)


@pytest.fixture
def chosen(settings: Any) -> Iterator[Callable[[Path | None], None]]:
    """``chosen(folder)``: playbooks come from that folder too, or without one are the built-in ones alone."""

    def choose(folder: Path | None) -> None:
        settings.CONFIG_DIR = folder
        playbook.playbooks.cache_clear()

    yield choose
    playbook.playbooks.cache_clear()


@pytest.fixture
def welcomed(
    pay: Pay, hubspot: Connection, smtp: Connection, drain: Drain, chosen: Callable[..., None], tmp_path: Path
) -> OnboardingTransaction:
    """Complete, by a playbook that ends with the welcome."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "standard.toml").write_text(WELCOMING)
    chosen(tmp_path)
    made = pay("beta")
    drain()
    return OnboardingTransaction.objects.get(pk=made.pk)


@pytest.fixture
def twelve(pay: Pay, chosen: Callable[..., None]) -> OnboardingTransaction:
    """Planned by the built-in playbook; no vendor is connected yet."""
    chosen(None)
    return pay("beta")


def page(run: OnboardingTransaction) -> str:
    return f"{RUNS}{run.pk}/change/"


def act(run: OnboardingTransaction, name: str, key: str = "") -> str:
    if key := key or STEP_OF.get(name, ""):
        return f"{RUNS}{run.pk}/steps/{run.steps.get(key=key).pk}/{name}/"
    return f"{RUNS}{run.pk}/act/{name}/"


def confirmed(client: Any, url: str) -> dict[str, str]:
    """What the confirmation's form sends."""
    answer = client.get(url)
    assert answer.status_code == 200, text(answer)
    return dict(re.findall(r'<input type="hidden" name="(seen|item)" value="([^"]*)"', answer.content.decode()))


def of(run: OnboardingTransaction) -> OnboardingTransaction:
    return OnboardingTransaction.objects.get(pk=run.pk)


# --- Who may do what


@pytest.mark.parametrize("who", sorted(GROUPS))
@pytest.mark.parametrize("name", sorted(MAY))
def test_each_role_can_only_perform_its_permitted_run_actions(
    request: pytest.FixtureRequest, as_: As, name: str, who: str
) -> None:
    run: OnboardingTransaction = request.getfixturevalue("welcomed" if name == "resend" else "run")
    if name == "resume":
        services.hold(run.pk, actor="tests", reason="Wait")
    client, url = as_(who), act(run, name)
    offered = url in client.get(page(run)).content.decode()
    if who in MAY[name]:
        answer = client.post(url, {**confirmed(client, url), **REASON}, follow=True)
        assert (answer.status_code, "Not done" in text(answer)) == (200, False), text(answer)
    else:
        assert client.get(url).status_code == 403
        assert client.post(url, {"seen": "0", **REASON}).status_code == 403
    assert offered == (who in MAY[name])
    assert run.audit.filter(actor=who).exists() == (who in MAY[name])


@pytest.mark.parametrize("name", sorted(set(MAY) - {"resend"}))
def test_confirmation_page_changes_nothing(run: OnboardingTransaction, as_: As, name: str) -> None:
    if name == "resume":
        services.hold(run.pk, actor="tests", reason="Wait")
    before = run.audit.count()
    assert as_("admin").get(act(run, name)).status_code == 200
    assert run.audit.count() == before


@pytest.mark.parametrize("name", ["hold", "cancel", "skip", "unlink"])
def test_without_a_reason_nothing_is_done(run: OnboardingTransaction, as_: As, name: str) -> None:
    before = run.audit.count()
    answer = as_("admin").post(act(run, name), {"reason": "  "})
    assert (answer.status_code, "Say why, in a few words." in text(answer)) == (422, True)
    assert run.audit.count() == before


def test_what_is_not_there_is_not_found(run: OnboardingTransaction, pay: Pay, as_: As) -> None:
    other = pay("gamma", customer__domain="gmail.com")
    step = run.steps.get(key="crm.account").pk
    admin = as_("admin")
    for url in (
        f"{RUNS}{run.pk}/act/explode/",
        f"{RUNS}{run.pk}/act/skip/",
        f"{RUNS}{run.pk}/steps/{step}/hold/",
        f"{RUNS}{other.pk}/steps/{step}/skip/",
        f"{RUNS}999999/act/hold/",
    ):
        assert admin.post(url, REASON).status_code == 404, url


# --- What the actions do


def test_a_held_run_says_who_and_why_until_it_is_resumed(run: OnboardingTransaction, as_: As) -> None:
    sales = as_("sales")
    held = text(sales.post(act(run, "hold"), REASON, follow=True))
    assert "On hold by sales" in held
    assert "The customer asked for it" in held
    assert "Not possible now" in text(sales.get(act(run, "hold"), follow=True))
    assert "Not done" in text(sales.post(act(run, "hold"), REASON, follow=True))
    shown = text(sales.post(act(run, "resume"), follow=True))
    assert "The run continues." in shown
    assert "On hold by" not in shown
    assert of(run).held_at is None


def test_a_cancelled_run_says_who_and_why_and_offers_a_rollback_alone(run: OnboardingTransaction, as_: As) -> None:
    shown = as_("lead").post(act(run, "cancel"), REASON, follow=True)
    assert "Cancelled by lead at " in text(shown)
    assert "The customer asked for it" in text(shown)
    offered = re.findall(rf"{RUNS}{run.pk}/act/(\w+)/", shown.content.decode())
    assert set(offered) == {"rollback"}
    assert of(run).status == Status.CANCELLED


def test_a_skipped_step_says_why(run: OnboardingTransaction, as_: As) -> None:
    client, url = as_("support"), act(run, "skip")
    shown = client.post(url, {**confirmed(client, url), **REASON}, follow=True)
    assert "Skipped because: “The customer asked for it”" in text(shown)
    assert Step.objects.get(transaction=run, key="support.organization").state == StepState.SKIPPED
    assert "Skip this step" not in text(as_("support").get(act(run, "skip"), follow=True))


def test_a_wrong_match_is_unlinked(run: OnboardingTransaction, as_: As) -> None:
    wrong = run.mappings.get(step__key="crm.account").external_id
    as_("engineer").post(act(run, "unlink"), REASON)
    assert not run.mappings.filter(step__key="crm.account", external_id=wrong).exists()


def test_an_unlink_names_the_other_runs_that_stay_linked(
    run: OnboardingTransaction, as_: As, pay: Pay, drain: Drain
) -> None:
    assert "Other runs are linked" not in text(as_("engineer").get(act(run, "unlink")))
    other = pay("gamma", customer__domain="beta-works.com")
    drain()
    assert f"unlink it there as well: {other.onboarding_transaction_id}." in text(
        as_("engineer").get(act(run, "unlink"))
    )


def test_a_welcome_is_sent_again_only_after_the_question(
    welcomed: OnboardingTransaction, as_: As, drain: Drain, sandbox: SandboxControl
) -> None:
    client, url = as_("sales"), act(welcomed, "resend")
    assert "A sent mail cannot be undone." in text(client.get(url))
    assert len(sandbox.objects("mail")) == 1
    assert "It is sent again." in text(client.post(url, follow=True))
    drain()
    assert len(sandbox.objects("mail")) == 2
    assert "Send again" not in text(as_("engineer").get(page(welcomed)))


def test_twelve_steps_cost_no_more_than_four(twelve: OnboardingTransaction, as_: As) -> None:
    engineer = as_("engineer")
    shown = engineer.get(page(twelve)).content.decode()
    assert twelve.steps.count() >= 12
    assert shown.count('class="fv-dag__box ') == twelve.steps.count()
    assert _queries(engineer, page(twelve)) < 40


def test_a_replay_shows_what_each_step_would_do(run: OnboardingTransaction, as_: As) -> None:
    shown = text(as_("support").get(act(run, "replay")))
    assert "Replay from “Find or create the CRM account”?" in shown
    assert "What each step would do" in shown
    assert "Confirm the replay" in shown


def test_a_replay_is_not_done_where_what_it_would_do_has_changed(run: OnboardingTransaction, as_: As) -> None:
    client, url = as_("support"), act(run, "replay")
    seen = confirmed(client, url)
    run.mappings.get(step__key="crm.account").delete()  # as an unlink leaves it
    answer = client.post(url, seen)
    assert (answer.status_code, "has changed since the preview" in text(answer)) == (409, True)
    assert not run.audit.filter(actor="support").exists()
    assert "Not done" not in text(client.post(url, confirmed(client, url), follow=True))
    assert run.audit.filter(actor="support").exists()


def test_a_replay_needs_a_preview(run: OnboardingTransaction, as_: As) -> None:
    assert as_("support").post(act(run, "replay")).status_code == 409
    assert not run.audit.filter(actor="support").exists()


# --- What the page shows


def test_diagram_links_to_each_steps_section(run: OnboardingTransaction, as_: As) -> None:
    shown = as_("engineer").get(page(run)).content.decode()
    assert "<svg" in shown
    for key in run.steps.values_list("key", flat=True):
        assert re.search(rf'<a class="fv-dag__box [^>]*href="#step-{re.escape(key)}"', shown)
        assert shown.count(f'id="step-{key}"') == 1
    picture = text(as_("engineer").get(page(run))).partition("The same as a list")[0]
    assert "Blocked Find or create the support organization" in picture


def test_section_shows_what_the_step_did(run: OnboardingTransaction, as_: As) -> None:
    shown = as_("engineer").get(page(run)).content.decode()
    part = shown[shown.index('id="step-crm.account"') : shown.index('id="step-crm.contact"')]
    for expected in ("firstvalue:domain:beta-works.com", "found by domain", "Attempts", "passed", "#call-"):
        assert expected in part


def test_calls_are_for_those_who_may_see_calls(run: OnboardingTransaction, as_: As) -> None:
    assert "Calls to vendors" in text(as_("engineer").get(page(run)))
    assert "Calls to vendors" not in text(as_("support").get(page(run)))


def test_page_query_count_does_not_grow_with_history(run: OnboardingTransaction, as_: As) -> None:
    engineer = as_("engineer")
    step = run.steps.get(key="support.organization")
    services.hold(run.pk, actor="tests", reason="Once: who did something is named, and names are read once.")
    services.resume(run.pk, actor="tests")
    engineer.get(page(run))
    before = _queries(engineer, page(run))
    for number in range(30):
        step.attempt_rows.create(token=100 + number, started_at=run.occurred_at, outcome="failed")
        services.hold(run.pk, actor="tests", reason=f"Number {number}")
        services.resume(run.pk, actor="tests")
        services.fix(run.pk, {"commercial.order_id": f"order {number}"}, actor="tests")
    assert _queries(engineer, page(run)) <= before
    assert before < 42


def _queries(client: Any, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def test_a_version_shows_what_changed_who_did_it_and_why(run: OnboardingTransaction, as_: As) -> None:
    services.fix(run.pk, {"customer.primary_contact.email": "new@beta-works.com"}, actor="kim")
    shown = text(as_("lead").get(page(run)))
    assert "kim filled in or corrected data; written by kim" in shown
    assert "Contact's email ann@beta-works.com new@beta-works.com kim" in shown


def test_personal_data_is_hidden_in_diffs_and_messages(run: OnboardingTransaction, as_: As) -> None:
    services.fix(run.pk, {"customer.primary_contact.email": "new@beta-works.com"}, actor="kim")
    step = run.steps.get(key="support.organization")
    step.message = "ann@beta-works.com is a duplicate"
    step.save()
    step.attempt_rows.update(message="ann@beta-works.com is a duplicate")
    shown = as_("finance").get(page(run)).content.decode()
    for personal in ("ann@beta-works.com", "new@beta-works.com", "Ann Beta"):
        assert personal not in shown
    assert "Contact's email hidden hidden kim" in re.sub(r"\s+", " ", text_of(shown))
    assert "a***@beta-works.com is a duplicate" in shown


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", html).replace("&#x27;", "'")


def test_timeline_groups_entries_by_step(run: OnboardingTransaction) -> None:
    titles = {step.key: step.key for step in run.steps.all()}
    story, earlier = timeline_sections(run, titles, may_see=True)
    assert not earlier
    assert [chapter.heading for chapter in story].count("crm.account") == 1
    words = [line.words for chapter in story if chapter.step == "crm.account" for line in chapter.lines]
    assert words[0] == "A worker claimed the step"
    assert words[-1] == "The step passed"


def test_timeline_names_the_actor(run: OnboardingTransaction, as_: As) -> None:
    services.hold(run.pk, actor="kim", reason="Wait")
    story, _ = timeline_sections(run, {}, may_see=True)
    assert (story[-1].who, story[-1].by_person) == ("kim", True)
    assert {chapter.who for chapter in story[:-1]} == {"Firstvalue", "tests"}


def test_every_audit_name_has_a_readable_text() -> None:
    name = re.compile(r"(onboarding|exceptions|integrations)\.[a-z-]+\.[a-z-]+")
    written = {
        node.value
        for app in ("integrations", "onboarding", "exceptions_queue")
        for path in (ROOT / app).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and name.fullmatch(node.value)
    }
    assert "onboarding.step.claimed" in written
    assert sorted(written - set(AUDIT_WORDS)) == []


def test_polls_are_one_timeline_line_and_no_attempts(pay: Pay, as_: As) -> None:
    run = pay("beta")
    with locked_run(run.pk) as locked:
        step = Step(
            transaction=locked,
            key="kickoff",
            uses="kickoff.task",
            system="delivery",
            position=9,
            state=StepState.WAITING,
        )
        step.waits_for = WaitsFor.EVENT
        step.save()
        audit.record(locked, "onboarding.step.waiting", data={"step": "kickoff", "for": WaitsFor.EVENT})
        locked.save()
    StepPoll.objects.create(step=step, count=190, last_at=clock.now() - timedelta(minutes=4), due_at=clock.now())
    told = text(as_("engineer").get(f"{RUNS}{run.pk}/change/"))
    assert "checked 190 times, last 4 min ago" in told
    assert "The awaited event was polled 190 times" in told
    assert "190 attempts" not in told
