"""The rules that every provider keeps, whatever its vendor: one table a rule, one row a kind of object.

What the vendor does differently, its own tests say; what a step may rely on is here.
"""

from collections.abc import Callable
from typing import Any

import pytest

from integrations.connectors.base import CreateSafety, Found, MatchKey
from integrations.connectors.declaration import vendors
from integrations.connectors.objects import VendorObject
from integrations.connectors.registry import PROVIDERS
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.sandbox.control import SandboxControl
from tests.integrations.vendors.conformance import REFERENCE, Bench, Case, MailBench, cases, cases_of
from tests.support.threads import together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("postgres")]
CASES = cases()
NAME = "Acme Logistics"
MANY = 230
"""More than two pages of every vendor's."""
LONG = "Łódź Überlandwerke 株式会社 " * 12


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    made: Case = request.param
    return made


@pytest.fixture
def bench(case: Case, sandbox: SandboxControl, request: pytest.FixtureRequest) -> Bench:
    if not case.speaks_http:
        return MailBench(request.getfixturevalue("smtp"), sandbox)
    return Bench(case.vendor, sandbox)


@pytest.fixture
def over_http(case: Case) -> None:
    if not case.speaks_http:
        pytest.skip("it does not speak HTTP: its own tests say what its refusals mean")


@pytest.fixture
def wanted(case: Case, bench: Bench) -> VendorObject:
    return case.wanted(bench, NAME)


def refused(call: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def outcome(call: Callable[[], str]) -> str | ProviderError:
    try:
        return call()
    except ProviderError as error:
        return error


def ids(found: list[Found]) -> set[str]:
    return {each.external_id for each in found}


def by_reference(case: Case, bench: Bench, wanted: VendorObject) -> set[str]:
    """What is found; of what cannot be looked up, what is there."""
    keys = case.keys(wanted, REFERENCE)
    return ids(bench.connector().find(case.kind, keys[0])) if keys else bench.kept(case)


def is_read(case: Case, wanted: VendorObject) -> bool:
    """Whether the vendor can be asked for it once it is made."""
    return bool(case.keys(wanted, REFERENCE))


def test_every_vendor_with_a_sandbox_is_held_to_these_rules() -> None:
    """But one that is only read, and makes nothing."""
    making = [name for name, vendor in vendors().items() if vendor.stand_in and PROVIDERS[name].kinds]
    assert [name for name in making if not cases_of(name)] == []


# --- Finding


def test_it_is_found_by_each_key(case: Case, bench: Bench, wanted: VendorObject) -> None:
    made = bench.create(wanted)
    for key in case.keys(wanted, REFERENCE):
        assert ids(bench.connector().find(case.kind, key)) == {made}, key.name
    found = bench.connector().get(case.kind, made)
    assert found is not None
    assert (found.external_id, found.inactive, found.conclusive) == (made, "", True)
    assert found.changed_at is None or found.changed_at.tzinfo


def test_nothing_is_found_before_it_is_made_and_by_an_empty_key(case: Case, bench: Bench, wanted: VendorObject) -> None:
    for key in case.keys(wanted, REFERENCE):
        assert bench.connector().find(case.kind, key) == []
        empty = type(key)(key.name, "", key.extra, key.within)
        assert bench.connector().find(case.kind, empty) == []


def test_a_key_that_the_vendor_cannot_look_up_finds_nothing(case: Case, bench: Bench) -> None:
    assert bench.connector().find(case.kind, MatchKey("postal-code", "10115")) == []


@pytest.mark.parametrize(
    "external_id", ["404", "404404404404", "no such id", "..", "../users", "%2e%2e", "'; DROP TABLE", "é"]
)
def test_what_is_not_there_is_none(case: Case, bench: Bench, wanted: VendorObject, external_id: str) -> None:
    if not is_read(case, wanted):
        pytest.skip("the vendor is not asked for it")
    assert bench.connector().get(case.kind, external_id) is None


def test_it_is_found_behind_many_others(case: Case, bench: Bench, wanted: VendorObject) -> None:
    if case.others is None:
        pytest.skip("the vendor answers a search for its keys with one page")
    bench.sandbox.seed(bench.vendor, case.stored_as, [case.others(number) for number in range(MANY)])
    made = bench.create(wanted)
    for key in case.keys(wanted, REFERENCE):
        assert ids(bench.connector().find(case.kind, key)) == {made}, key.name


# --- Creating


def test_a_repeated_create_is_as_safe_as_declared(case: Case, bench: Bench, wanted: VendorObject) -> None:
    first = bench.create(wanted)
    safety = bench.connector().kind(case.kind).safety
    if safety is CreateSafety.NEITHER:
        assert by_reference(case, bench, wanted) == {first}, (
            "a repeated create is prevented only by finding it, or by a person"
        )
        return
    again = outcome(lambda: bench.create(wanted))
    if isinstance(again, ProviderError):
        assert (again.kind, again.effect_possible) == (Kind.CONFLICT, False)
        assert again.existing_id in ("", first)
    else:
        assert again == first
    assert first in bench.bodies(case.stored_as)
    assert by_reference(case, bench, wanted) == {first}


def test_creates_that_race_make_one(case: Case, bench: Bench, wanted: VendorObject) -> None:
    if bench.connector().kind(case.kind).safety is CreateSafety.NEITHER:
        pytest.skip("the engine's lease keeps them apart")
    before = set(bench.bodies(case.stored_as))

    ended = together([lambda: outcome(lambda: bench.create(wanted))] * 4)
    made = {each for each in ended if isinstance(each, str)}
    assert len(made) == 1
    assert {each.kind for each in ended if isinstance(each, ProviderError)} <= {Kind.CONFLICT, Kind.TEMPORARY}
    assert set(bench.bodies(case.stored_as)) - before == made


@pytest.mark.parametrize(
    "name",
    [LONG[:120], LONG, "<script>alert(1)</script>", "Robert'); DROP TABLE companies;--", '"quoted" \\ back', "tab\tand\nline",
     "{{7*7}} ${jndi:x} %s %n", "\u202eright to left", "👩‍🚀 & Söhne", "null", "0"],
)  # fmt: skip
def test_hostile_and_long_values_are_kept_or_refused_by_name(case: Case, bench: Bench, name: str) -> None:
    wanted = case.wanted(bench, name)
    made = outcome(lambda: bench.create(wanted))
    if isinstance(made, ProviderError):
        assert made.kind in (Kind.INVALID, Kind.CONFLICT)
        assert made.fields
        assert not made.effect_possible
        assert by_reference(case, bench, wanted) == set()
        return
    assert by_reference(case, bench, wanted) == {made}
    found = bench.connector().get(case.kind, made)
    assert found is not None
    assert (
        case.kind == "note" or not is_read(case, wanted) or " ".join(name.split())[:50] in " ".join(found.label.split())
    )


# --- Changing


def test_an_update_changes_what_it_says_and_can_be_repeated(case: Case, bench: Bench, wanted: VendorObject) -> None:
    if case.change is None:
        pytest.skip("the vendor cannot change it")
    made = bench.create(wanted)
    before = bench.bodies(case.stored_as)[made]
    assert not case.shows(before)
    for _ in range(2):
        bench.connector().update(made, case.change)
        assert case.shows(bench.bodies(case.stored_as)[made])
    assert by_reference(case, bench, wanted) == {made}, "an update keeps our reference"
    bench.connector().update(made, type(wanted)())
    assert case.shows(bench.bodies(case.stored_as)[made]), "an empty field says nothing"


def test_an_update_of_what_is_not_there_says_so(case: Case, bench: Bench) -> None:
    if case.change is None:
        pytest.skip("the vendor cannot change it")
    error = refused(lambda: bench.connector().update("404404404404", case.change))
    assert (error.kind, error.effect_possible) == (Kind.NOT_FOUND, False)


def test_it_is_tied_once_however_often(case: Case, bench: Bench, wanted: VendorObject) -> None:
    if case.ties is None:
        pytest.skip("the vendor ties it when it is made")
    made = bench.create(wanted)
    to_kind, to_id = case.ties(bench)
    for _ in range(2):
        bench.connector().associate(case.kind, made, to_kind, to_id)
    assert by_reference(case, bench, wanted) == {made}


# --- Undoing


def test_undo_can_be_repeated_and_leaves_nothing(case: Case, bench: Bench, wanted: VendorObject) -> None:
    made = bench.create(wanted)
    if not bench.connector().reversible(case.kind):
        with pytest.raises(TypeError):
            bench.connector().undo(case.kind, made)
        return
    for _ in range(2):
        bench.connector().undo(case.kind, made)
        assert bench.connector().get(case.kind, made) is None
        assert made not in bench.kept(case)
    for key in case.keys(wanted, REFERENCE):
        assert made not in ids(bench.connector().find(case.kind, key)), key.name


def test_what_was_undone_can_be_made_again(case: Case, bench: Bench, wanted: VendorObject) -> None:
    if not bench.connector().reversible(case.kind):
        pytest.skip("it cannot be undone")
    first = bench.create(wanted)
    bench.connector().undo(case.kind, first)
    again = bench.create(wanted)
    assert bench.connector().get(case.kind, again) is not None


# --- Refusals


STATUSES = {
    400: Kind.INVALID,
    401: Kind.AUTH,
    403: Kind.FORBIDDEN,
    404: Kind.NOT_FOUND,
    409: Kind.CONFLICT,
    422: Kind.INVALID,
    429: Kind.RATE_LIMIT,
    500: Kind.SERVER,
    502: Kind.SERVER,
    503: Kind.SERVER,
    504: Kind.SERVER,
}


def set_fault(bench: Bench, status: int, **rule: Any) -> None:
    kind = {401: "unauthorized", 403: "forbidden", 429: "rate_limit"}.get(status, "error_before")
    bench.sandbox.add_fault(bench.vendor, kind, status=status if kind == "error_before" else None, **rule)


@pytest.mark.usefixtures("over_http")
@pytest.mark.parametrize("status", STATUSES)
def test_a_refused_create_has_its_kind(case: Case, bench: Bench, wanted: VendorObject, status: int) -> None:
    before = set(bench.bodies(case.stored_as))
    for method in case.writes:
        set_fault(bench, status, method=method, path=case.creates_at)
    error = refused(lambda: bench.create(wanted))
    assert error.kind is case.error_kinds.get(status, STATUSES[status])
    assert error.http_status == case.answered_as.get(status, status)
    assert error.effect_possible is (status >= 500)
    assert error.message
    assert "sandbox-" not in error.message
    assert set(bench.bodies(case.stored_as)) == before


@pytest.mark.parametrize("status", [401, 403, 409, 429, 500, 503])
def test_a_refused_read_is_never_taken_for_nothing_there(
    case: Case, bench: Bench, wanted: VendorObject, status: int
) -> None:
    if not is_read(case, wanted):
        pytest.skip("the vendor is not asked for it")
    made = bench.create(wanted)
    set_fault(bench, status)
    for call in (
        lambda: bench.connector().get(case.kind, made),
        lambda: bench.connector().find(case.kind, case.keys(wanted, REFERENCE)[0]),
    ):
        error = refused(call)
        assert error.kind is case.error_kinds.get(status, STATUSES[status])
        assert not error.effect_possible


@pytest.mark.usefixtures("over_http")
@pytest.mark.parametrize("status", [429, 503])
def test_a_vendors_wait_is_kept(case: Case, bench: Bench, wanted: VendorObject, status: int) -> None:
    set_fault(bench, status, retry_after=17)
    error = refused(lambda: bench.create(wanted))
    assert error.retry_after is not None
    assert error.retry_after >= 17


@pytest.mark.usefixtures("over_http")
def test_the_vendors_own_limit_is_a_rate_limit(case: Case, bench: Bench, wanted: VendorObject) -> None:
    bench.sandbox.configure(bench.vendor, rate_limit={"requests": 1, "seconds": 30})
    errors: list[ProviderError] = []
    for _ in range(3):
        try:
            if case.keys(wanted, REFERENCE):
                bench.connector().get(case.kind, "404404404")
            else:
                bench.create(wanted)
        except ProviderError as error:
            errors.append(error)
    assert {each.kind for each in errors} == {Kind.RATE_LIMIT}
    assert all(each.retry_after for each in errors)


# --- Answers


@pytest.fixture
def short_calls(settings: Any) -> None:
    settings.CALL_SECONDS = settings.EMAIL_TIMEOUT = 0.6


@pytest.mark.parametrize("fault", ["malformed", "wrong_shape"])
def test_an_unreadable_answer_is_no_success(case: Case, bench: Bench, wanted: VendorObject, fault: str) -> None:
    made = bench.create(wanted, "firstvalue:before")
    bench.sandbox.add_fault(bench.vendor, fault)
    if case.keys(wanted, REFERENCE):
        error = refused(lambda: bench.connector().get(case.kind, made))
        assert (error.kind, error.effect_possible) == (Kind.MALFORMED, False)
    error = refused(lambda: bench.create(wanted))
    assert error.kind is Kind.MALFORMED


@pytest.mark.usefixtures("short_calls")
@pytest.mark.parametrize("fault", ["timeout_after", "reset_after", "slow_drip", "error_after"])
def test_a_create_without_an_answer_is_indeterminate_and_can_be_found(
    case: Case, bench: Bench, wanted: VendorObject, fault: str
) -> None:
    if fault == "slow_drip" and case.says_nothing:
        pytest.skip("there is no body to wait for")
    for method in case.writes:
        bench.sandbox.add_fault(bench.vendor, fault, method=method, path=case.creates_at, delay=5.0, count=1)
    error = refused(lambda: bench.create(wanted))
    assert error.kind is Kind.SERVER
    assert error.effect_possible
    bench.sandbox.clear_faults()
    assert len(by_reference(case, bench, wanted)) == 1


@pytest.mark.parametrize("fault", ["nulls", "absent", "unknown_values", "other_ids"])
def test_an_unusual_answer_means_the_same(case: Case, bench: Bench, fault: str) -> None:
    bench.sandbox.add_fault(bench.vendor, fault)
    wanted = case.wanted(bench, NAME)
    made = bench.create(wanted)
    assert made in bench.bodies(case.stored_as)
    for key in case.keys(wanted, REFERENCE)[:1]:
        assert ids(bench.connector().find(case.kind, key)) == {made}, key.name
    found = bench.connector().get(case.kind, made)
    assert found is not None
    assert (found.external_id, found.inactive) == (made, "")
    if case.change is not None:
        bench.connector().update(made, case.change)
    if case.ties is not None:
        bench.connector().associate(case.kind, made, *case.ties(bench))
    if bench.connector().reversible(case.kind):
        bench.connector().undo(case.kind, made)
        assert made not in bench.kept(case)


def test_nothing_is_sent_after_the_deadline(case: Case, bench: Bench, wanted: VendorObject) -> None:
    before = len(bench.sandbox.requests(bench.vendor))
    with pytest.raises((DeadlinePassed, ProviderError)):
        bench.connector(seconds=-1).create(wanted, REFERENCE)
    assert len(bench.sandbox.requests(bench.vendor)) == before


@pytest.mark.usefixtures("over_http")
def test_the_probe_says_who_we_are_and_needs_the_credentials(case: Case, bench: Bench) -> None:
    before = len(bench.sandbox.requests(bench.vendor))
    assert bench.connector().probe().strip()
    if not case.probes_by_a_call:
        assert len(bench.sandbox.requests(bench.vendor)) == before
        return
    bench.sandbox.set_tokens(bench.vendor, ["another"])
    assert refused(bench.connector().probe).kind is Kind.AUTH
