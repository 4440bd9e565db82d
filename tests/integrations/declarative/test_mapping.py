"""Declarative mappings: what a file may say, what is refused with file and key, and what goes over the wire."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations import checks
from integrations.connections.services import probe, set_connection
from integrations.connectors import registry
from integrations.connectors.base import CreateSafety, MatchKey, ObjectKind
from integrations.connectors.objects import MappedValues
from integrations.connectors.registry import PROVIDERS, MappingError
from integrations.declarative import refusals, templates
from integrations.declarative.connector import idempotency_key
from integrations.declarative.mapping import Errors, Request, load
from integrations.errors import Kind, ProviderError
from integrations.http.hosts import checked_base_url
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import checks as step_checks
from onboarding.playbooks.playbook import PlaybookError, playbooks
from onboarding.playbooks.playbook import load as load_playbook
from onboarding.steps import declarative
from onboarding.steps.registry import HANDLERS

pytestmark = pytest.mark.one_database("sqlite")
EXAMPLE = Path(__file__).parents[3] / "docs" / "provider-example.toml"
MINE = """
name = "mine"
system = "product"
hosts = ["api.mine.example"]
options = ["region"]

[probe]
path = "/me"

[objects.gadget]
title = "create the gadget"
safety = "neither"
match = ["customer.domain"]

[objects.gadget.get]
path = "/gadgets/{id}"

[[objects.gadget.find]]
path = "/gadgets"
query = { reference = "{key}" }
results = "data"
same = "reference"

[objects.gadget.create]
path = "/gadgets"
body = { name = "{payload.customer.legal_name}", reference = "{reference}" }
"""


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """A company's own mappings; afterwards those of the other tests are back."""
    settings.CONFIG_DIR = tmp_path
    (tmp_path / "providers").mkdir()
    yield tmp_path / "providers"
    settings.CONFIG_DIR = Path(__file__).parents[2] / "company"
    registry.load_mappings()
    declarative.load()
    playbooks.cache_clear()


# --- Files ----------------------------------------------------------------------------------------------------------


def test_the_documented_example_is_sound(folder: Path) -> None:
    (folder / "acme.toml").write_text(EXAMPLE.read_text())
    assert checks.mappings_are_sound(None) == []
    assert step_checks.mapped_steps_are_sound() == []
    assert {"http:tenant", "http:tenant.update", "http:licence", "http:checklist"} <= set(HANDLERS)
    tenant = HANDLERS["http:tenant"]
    assert (tenant.needs, tenant.provider) == (("crm.account",), "acme-product")
    assert "customer.legal_name" in tenant.reads


def test_the_example_shows_every_key() -> None:
    def keys(node: Any) -> set[str]:
        if isinstance(node, dict):
            return set(node) | {key for value in node.values() for key in keys(value)}
        return {key for each in node for key in keys(each)} if isinstance(node, list | tuple) else set()

    shown = keys(load(EXAMPLE).model_dump(exclude_unset=True))
    all_of_them = keys(load(EXAMPLE).model_dump())
    assert all_of_them - shown <= {"user_option"}  # of the other style of auth


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "mine"', 'name = "My Own"', "mine.toml: name: "),
        ('name = "mine"', 'name = "hubspot"', "mine.toml: name: hubspot is a built-in provider"),
        ('system = "product"', 'system = "magic"', "mine.toml: system: "),
        ('["api.mine.example"]', '["*"]', "mine.toml: hosts #1: "),
        ('["api.mine.example"]', '["*.com"]', "mine.toml: hosts #1: "),
        ('["api.mine.example"]', '["10.0.0.1"]', "mine.toml: hosts #1: "),
        ("options =", 'default_base_url = "https://evil.example"\noptions =', "default_base_url: leads to none"),
        ("[probe]", '[auth]\nstyle = "basic"\n[probe]', "auth.user_option: basic needs"),
        ('[probe]\npath = "/me"', "", "mine.toml: probe: is missing"),
        ('path = "/me"', 'path = "me"', "mine.toml: probe.path: must start with /"),
        ('path = "/me"', 'path = "/a/../me"', "mine.toml: probe.path: must not lead upwards"),
        ('path = "/me"', 'path = "/me?all=1"', "mine.toml: probe.path: must start with / and hold no query"),
        ("/gadgets/{id}", "/gadgets", "objects.gadget.get: never names {id}"),
        ("/gadgets/{id}", "/gadgets/{id", "objects.gadget.get.path: “/gadgets/{id” has a brace"),
        ("/gadgets/{id}", "/gadgets/{key}", "objects.gadget.get.path: {key} is not known here"),
        ("/gadgets/{id}", "/gadgets/{id.x}", "objects.gadget.get.path: {id.x} has no parts"),
        ('"{key}"', '"{options.colour}"', "find #1.query.reference: {options.colour} is none of the options"),
        ('"{key}"', '"all"', "objects.gadget.find #1: never names {key}"),
        ('results = "data"', 'results = "data..id"', "objects.gadget.find #1.results: "),
        ('same = "reference"', "", "objects.gadget.find #1.same: is missing"),
        ('same = "reference"', 'same = "reference"\nby = "name"', "objects.gadget.find #1 (name).by: "),
        ('same = "reference"', 'same = "reference"\ncolour = "red"', "find #1.colour: is not known here"),
        ('same = "reference"', 'same = "reference"\nwithin = "{objects.crm.account}"', "find #1.within: must be given"),
        ("customer.legal_name", "customer.legal_nam", "objects.gadget: the payload has no customer.legal_nam"),
        ('["customer.domain"]', '["customer.dom"]', "objects.gadget: the payload has no customer.dom"),
        (', reference = "{reference}" }', " }", "objects.gadget.create: never sends {reference}, so it could never be"),
        ('"{payload.customer.legal_name}"', '"{objects.crm.magic}"', "{objects.crm.magic} names no step"),
        ('"{payload.customer.legal_name}"', '"{objects.support.users}"', "{objects.support.users} names several"),
        ('"{payload.customer.legal_name}"', '"{run.colour}"', "create.body.name: {run.colour} is not known: a run has"),
        ('"{payload.customer.legal_name}"', '"{item.name}"', "create.body.name: {item.name} is not known here"),
        ('"{payload.customer.legal_name}"', '"{__import__(1)}"', "{__import__(1)} names nothing"),
        ('safety = "neither"', 'safety = "hope"', "objects.gadget.safety: "),
        ('safety = "neither"', 'safety = "idempotency-key"', "objects.gadget.create: never sends {idempotency_key}"),
        ('safety = "neither"', 'safety = "neither"\nkey_lifetime = 60', "objects.gadget.key_lifetime: is only for"),
        ('safety = "neither"', 'safety = "neither"\nbatch = true', "objects.gadget.batch: needs items"),
        ('safety = "neither"', 'safety = "neither"\nitems = "users"', "objects.gadget.match: makes all items one"),
        ("[objects.gadget.create]", '[objects.gadget.create]\nheaders = { Host = "x" }', "create.headers.Host: "),
        (
            "[objects.gadget.create]",
            '[objects.gadget.create]\nheaders = { X-Name = "{payload.customer.legal_name}" }',
            "create.headers.X-Name: {payload.customer.legal_name} is not known here",
        ),
        ("[objects.gadget.create]", "[[objects.gadget.create.duplicate]]\n[objects.gadget.create]", "mine.toml: "),
        ("[probe]", '[errors]\nfield = "a..b"\n[probe]', "mine.toml: errors.field: "),
        ("[probe]", '[errors]\nfields = { a = "customer.nam" }\n[probe]', "errors.fields.a: the payload has no customer.nam"),
        ("[objects.gadget.get]", "nonsense", "mine.toml: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_file_and_key(folder: Path, old: str, new: str, words: str) -> None:
    assert old in MINE
    (folder / "mine.toml").write_text(MINE.replace(old, new, 1))
    found = [*checks.mappings_are_sound(None), *step_checks.mapped_steps_are_sound()]
    assert found, "nobody complained"
    assert all(message.msg.startswith("mine.toml: ") for message in found)
    assert any(words in message.msg for message in found), [message.msg for message in found]


def test_a_kind_belongs_to_one_mapping(folder: Path) -> None:
    (folder / "mine.toml").write_text(MINE)
    (folder / "other.toml").write_text(MINE.replace('"mine"', '"other"'))
    with pytest.raises(MappingError, match=r"other\.toml: objects\.gadget: mine\.toml has objects of that kind too"):
        registry.load_mappings()
    (folder / "other.toml").write_text(MINE)
    assert "other.toml: name: mine.toml is called mine too" in checks.mappings_are_sound(None)[0].msg


def test_a_handler_exists_as_long_as_its_mapping(folder: Path, tmp_path: Path) -> None:
    playbook = tmp_path / "mine.toml"
    playbook.write_text(
        'name = "mine"\nversion = "1"\nowner = "x"\n[[steps]]\nkey = "gadget"\nuses = "http:gadget"\nwith = {}\n'
    )
    (folder / "mine.toml").write_text(MINE)
    registry.load_mappings()
    declarative.load()
    assert load_playbook(playbook).steps[0].uses == "http:gadget"
    assert PROVIDERS["mine"].mapped
    (folder / "mine.toml").unlink()
    registry.load_mappings()
    declarative.load()
    assert "mine" not in PROVIDERS
    with pytest.raises(PlaybookError, match="uses http:gadget, which no handler is called"):
        load_playbook(playbook)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "needs tasks under “with”"),
        ('with = { tasks = ["a"] }', "item 1 needs a name"),
        ("with = { tasks = [] }", "must list 1 to 100 items"),
        ('with = { tasks = [{ name = "a" }, { name = "a" }] }', "the item “a” is listed twice"),
        ('with = { tasks = [{ name = "a" }], colour = "red" }', "knows no option colour (known: tasks)"),
    ],
)
def test_a_playbook_gives_what_the_mapping_names(tmp_path: Path, options: str, words: str) -> None:
    playbook = tmp_path / "mine.toml"
    steps = [("account", "[]"), ("workspace", '["account"]'), ("task", '["workspace"]')]
    text = "".join(f'[[steps]]\nkey = "{key}"\nuses = "http:{key}"\nafter = {after}\n' for key, after in steps)
    playbook.write_text(f'name = "mine"\nversion = "1"\nowner = "x"\n{text}{options}\n')
    with pytest.raises(PlaybookError, match=r"mine\.toml") as refused:
        load_playbook(playbook)
    assert words in str(refused.value)


# --- Templates ------------------------------------------------------------------------------------------------------


def test_a_lone_name_keeps_its_type_and_an_empty_one_is_left_out() -> None:
    body = {"n": "{a}", "text": "{a} of {b}", "list": ["{c}", "x"], "gone": "{d}", "literal": "{{a}}", "flag": False}
    values = {"a": 3, "b": "{a}", "c": {"deep": [1]}, "d": None}
    assert templates.rendered(body, values) == {
        "n": 3,
        "text": "3 of {a}",
        "list": [{"deep": [1]}, "x"],
        "literal": "{a}",
        "flag": False,
    }


def test_values_cannot_leave_their_place_in_a_path_or_a_header() -> None:
    assert templates.path("/x/{a}/y", {"a": "../b?c#d"}) == "/x/..%2Fb%3Fc%23d/y"
    for nothing in ("..", "", None):
        with pytest.raises(ValueError, match="is no id"):
            templates.path("/x/{a}", {"a": nothing})
    assert templates.header("v={a}", {"a": "é\r\nHost: evil"}) == "v=%C3%A9%0D%0AHost: evil"


def values(kind: str, **given: int) -> MappedValues:
    return MappedValues(of_kind=kind, values=given)


def test_the_key_is_the_creates_own() -> None:
    key = idempotency_key(values("widget", a=1, b=2), "ref")
    assert key == idempotency_key(values("widget", b=2, a=1), "ref")
    assert key not in {idempotency_key(other, "ref") for other in (values("seat", a=1, b=2), values("widget", a=2))}
    assert key != idempotency_key(values("widget", a=1, b=2), "other")
    assert len(key) == 64


# --- Over the wire --------------------------------------------------------------------------------------------------


def connection(sandbox: SandboxControl, provider: str, system: str, path: str = "/widgets/v1") -> Connection:
    return set_connection(
        provider,
        system=system,
        provider=provider,
        base_url=sandbox.base_url + path,
        environment="sandbox",
        secrets={"token": ["sandbox-widgets-token"]},
        actor="tests",
    )


def speak(made: Connection) -> Any:
    return registry.connector(made, subject="tests", deadline=time.monotonic() + 30)


@pytest.fixture
def plain(transactional_db: None, sandbox: SandboxControl) -> Any:
    return speak(connection(sandbox, "plain", "identity"))


@pytest.fixture
def upserting(transactional_db: None, sandbox: SandboxControl) -> Any:
    return speak(connection(sandbox, "upserting", "erp"))


WIDGET = MappedValues(of_kind="widget", values={"payload.customer.legal_name": "Acme"})


def test_a_mapping_says_how_safe_its_creates_are(plain: Any, upserting: Any) -> None:
    assert plain.kind("widget") == ObjectKind(CreateSafety.NEITHER, 20.0, 86_400.0)
    assert upserting.kind("account").safety is CreateSafety.UNIQUE_UPSERT
    with pytest.raises(ValueError, match="plain has no account"):
        plain.kind("account")


def test_what_was_made_is_got_and_found(plain: Any) -> None:
    made = plain.create(WIDGET, "ref/1 é")
    assert plain.get("widget", made.external_id).label == "Acme"
    assert [each.external_id for each in plain.find("widget", MatchKey("reference", "REF/1 é"))] == [made.external_id]
    assert plain.find("widget", MatchKey("reference", "ref")) == []
    assert plain.find("widget", MatchKey("domain", "acme.com")) == []
    assert plain.get("widget", "404404") is None


def test_it_is_probed(plain: Any, sandbox: SandboxControl) -> None:
    assert probe(plain.connection).ok
    sandbox.set_tokens("widgets", [])
    result = probe(plain.connection)
    assert (result.ok, result.status) == (False, 401)


@pytest.mark.parametrize("fault", ["malformed", "wrong_shape"])
def test_an_answer_that_cannot_be_read_is_never_taken_for_none(fault: str, plain: Any, sandbox: SandboxControl) -> None:
    sandbox.add_fault("widgets", fault)
    calls = [
        lambda: plain.find("widget", MatchKey("reference", "ref")),
        lambda: plain.get("widget", "1"),
        lambda: plain.create(WIDGET, "ref"),
    ]
    for call, effect in zip(calls, (False, False, True), strict=True):
        with pytest.raises(ProviderError) as failed:
            call()
        assert (failed.value.kind, failed.value.effect_possible) == (Kind.MALFORMED, effect)


def test_a_duplicate_names_the_one_that_exists(plain: Any, sandbox: SandboxControl) -> None:
    sandbox.configure("widgets", unique=["reference"])
    made = plain.create(WIDGET, "ref")
    with pytest.raises(ProviderError) as failed:
        plain.create(WIDGET, "ref")
    error = failed.value
    assert (error.kind, error.existing_id, error.existing_by) == (Kind.CONFLICT, made.external_id, "reference")
    assert not error.effect_possible


def mapped(folder: Path, text: str) -> None:
    (folder / "mine.toml").write_text(text)
    registry.load_mappings()


TO_WIDGETS = MINE.replace("/gadgets", "/widgets")
VALUES = MappedValues(of_kind="gadget", values={"payload.customer.legal_name": "Acme"})


def test_a_bare_id_is_the_whole_answer(folder: Path, transactional_db: None, sandbox: SandboxControl) -> None:
    create = '[objects.gadget.create]\npath = "/widgets'
    assert create in TO_WIDGETS
    mapped(folder, TO_WIDGETS.replace(create, '[objects.gadget.create]\nid = "$"\npath = "/widgets/bare'))
    mine = speak(connection(sandbox, "mine", "product"))
    made = mine.create(VALUES, "ref")
    assert mine.get("gadget", made.external_id).external_id == made.external_id


@pytest.mark.parametrize(
    ("answer", "where", "found"),
    [("7", "$", "7"), ({"a": [{"b": 1}]}, "$.a.0.b", 1), (["x"], "$.0", "x"), ({"$": 1}, "$", {"$": 1}), ([], "", [])],
)
def test_a_dollar_is_the_whole_answer(answer: Any, where: str, found: Any) -> None:
    assert templates.pick(answer, where) == found


def test_refusal_names_the_field_a_person_can_fix(plain: Any, sandbox: SandboxControl) -> None:
    sandbox.configure("widgets", refused=["name"])
    with pytest.raises(ProviderError) as failed:
        plain.create(WIDGET, "ref")
    error = failed.value
    assert [(each.name, each.reason, each.path) for each in error.fields] == [
        ("name", "is not accepted", "customer.legal_name")
    ]
    assert (error.kind, error.message.endswith(": name: is not accepted")) == (Kind.INVALID, True)


EMAIL = "customer.primary_contact.email"
ERRORS: dict[str, tuple[Any, Errors]] = {
    "one": (
        {"detail": "is taken", "source": {"pointer": "/contact/email"}},
        Errors(message="detail", field="source.pointer"),
    ),
    "listed": ({"errors": [{"msg": "is taken", "at": "email"}]}, Errors(list="errors", message="msg", field="at")),
    "by-field": ({"errors": {"email": ["is taken"]}}, Errors(list="errors")),
    "as-path": (
        {"detail": [{"loc": ["contact", "email"], "msg": "is taken"}]},
        Errors(list="detail", message="msg", field="loc"),
    ),
    "named": ({"why": "is taken", "at": "mail"}, Errors(message="why", field="at", fields={"mail": EMAIL})),
}


@pytest.mark.parametrize("shape", ERRORS)
def test_refusals_of_all_shapes_lead_to_our_field(shape: str) -> None:
    body, errors = ERRORS[shape]
    sent = Request(path="/x", body={"contact": {"email": "{payload.customer.primary_contact.email}"}, "plan": "pro"})
    error = ProviderError(Kind.INVALID, "Mine did not accept the request: …", 422)
    refusals.explain(errors, sent.origins, error, body)
    assert [(each.reason, each.path) for each in error.fields] == [("is taken", EMAIL)]
    assert error.message.endswith("is taken")


def test_ambiguous_field_name_maps_to_no_path() -> None:
    sent = Request(
        path="/x",
        body={"a": {"name": "{payload.customer.legal_name}"}, "b": {"name": "{payload.customer.primary_contact.name}"}},
    )
    assert set(sent.origins) == {"a.name", "b.name"}


def test_proxy_error_page_is_not_parsed() -> None:
    error = ProviderError(Kind.INVALID, "Mine did not accept the request", 400)
    refusals.explain(Errors(message="$"), {}, error, "<html>Bad Request</html>")
    assert (error.message, error.fields) == ("Mine did not accept the request", [])


def test_a_vendors_own_failure_says_what_it_said(plain: Any, sandbox: SandboxControl) -> None:
    sandbox.add_fault("widgets", "error_before", status=500)
    with pytest.raises(ProviderError) as failed:
        plain.create(WIDGET, "ref")
    assert failed.value.message.endswith("failed: Something went wrong")
    assert failed.value.fields == []


def test_an_object_that_no_step_keeps_up_to_date_is_warned_of(folder: Path, tmp_path: Path) -> None:
    update = '\n[objects.gadget.update]\npath = "/gadgets/{id}"\nbody = { name = "{payload.customer.legal_name}" }\n'
    steps = '[[steps]]\nkey = "gadget"\nuses = "http:gadget"\n'
    head = 'name = "mine"\nversion = "1"\nowner = "x"\nplans = ["mine"]\n'
    playbook = tmp_path / "playbooks" / "mine.toml"
    playbook.parent.mkdir()

    def warned(mapping: str, text: str) -> list[str]:
        mapped(folder, mapping)
        declarative.load()
        playbook.write_text(head + text)
        playbooks.cache_clear()
        return [each.msg for each in step_checks.mapped_objects_are_kept_up_to_date()]

    (message,) = warned(MINE, steps)
    assert "mine: the step gadget makes its object from customer.legal_name" in message
    assert len(warned(MINE + update, steps)) == 1, "there is an update, and no step that uses it"
    told = '[[steps]]\nkey = "told"\nuses = "http:gadget.update"\nafter = ["gadget"]\n'
    assert warned(MINE + update, steps + told) == []
    fixed = MINE.replace("{payload.customer.legal_name}", "A gadget")
    assert warned(fixed, steps) == []


def test_success_status_with_error_body_is_a_failure(
    folder: Path, transactional_db: None, sandbox: SandboxControl
) -> None:
    refusal = '[[failures]]\nstatus = [201]\nwhere = "name"\nvalues = ["Acme"]\nmeans = "rate-limit"\n[probe]'
    mapped(folder, TO_WIDGETS.replace("[probe]", refusal))
    with pytest.raises(ProviderError) as failed:
        speak(connection(sandbox, "mine", "product")).create(VALUES, "ref")
    assert (failed.value.kind, failed.value.effect_possible) == (Kind.RATE_LIMIT, False)


def test_mapping_declares_transient_refusals(folder: Path, transactional_db: None, sandbox: SandboxControl) -> None:
    refusal = '[[failures]]\nstatus = [201]\nwhere = "name"\nmeans = "temporary"\nwait = 30\n[probe]'
    mapped(folder, TO_WIDGETS.replace("[probe]", refusal))
    with pytest.raises(ProviderError) as failed:
        speak(connection(sandbox, "mine", "product")).create(VALUES, "ref")
    assert (failed.value.kind, failed.value.retry_after) == (Kind.TEMPORARY, 30.0)


def test_what_the_mapping_calls_not_found_is_not_there(
    folder: Path, transactional_db: None, sandbox: SandboxControl
) -> None:
    gone = '[[objects.gadget.not_found]]\nwhere = "archived"\nvalues = [true]\n[objects.gadget.get]'
    mapped(folder, TO_WIDGETS.replace("[objects.gadget.get]", gone))
    (row,) = sandbox.seed("widgets", "widgets", [{"name": "Old", "archived": True}])
    assert speak(connection(sandbox, "mine", "product")).get("gadget", row) is None


def test_only_a_pages_address_becomes_a_link(folder: Path, transactional_db: None, sandbox: SandboxControl) -> None:
    mapped(folder, TO_WIDGETS.replace('path = "/widgets/{id}"', 'path = "/widgets/{id}"\nurl = "site"'))
    ids = sandbox.seed("widgets", "widgets", [{"site": "javascript:alert(1)"}, {"site": "https://x.example/1"}])
    mine = speak(connection(sandbox, "mine", "product"))
    assert [mine.get("gadget", row).url for row in ids] == ["", "https://x.example/1"]


@pytest.mark.parametrize(
    ("auth", "options", "header"),
    [
        ("", {}, ("Authorization", "Bearer t0ken")),
        ('style = "header"\nheader = "X-Api-Key"\nprefix = "Key "', {}, ("X-Api-Key", "Key t0ken")),
        ('style = "basic"\nuser_option = "user"', {"user": "sam"}, ("Authorization", "Basic c2FtOnQwa2Vu")),
    ],
)
def test_credentials_go_where_the_vendor_wants_them(
    folder: Path, auth: str, options: dict[str, str], header: tuple[str, str]
) -> None:
    text = MINE.replace("options =", 'required_options = ["user"]\noptions =') if options else MINE
    mapped(folder, text.replace("[probe]", f"[auth]\n{auth}\n[probe]"))
    made = PROVIDERS["mine"].connector
    assert made is not None
    assert made.auth_headers(Connection(options=options), "t0ken") == dict([header])  # type: ignore[attr-defined]


def test_a_production_address_must_be_one_of_its_hosts(folder: Path) -> None:
    mapped(folder, MINE)
    info = PROVIDERS["mine"]
    assert checked_base_url("https://api.mine.example/v1/", info, "production") == "https://api.mine.example/v1"
    for wrong in ("http://api.mine.example", "https://evil.example", "https://127.0.0.1", "https://10.0.0.1", ""):
        with pytest.raises(ValueError, match=r"base URL|no host of mine"):
            checked_base_url(wrong, info, "production")
