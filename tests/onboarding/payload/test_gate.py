"""The gate: which payloads may start provisioning, and why the others may not."""

from datetime import datetime
from decimal import Decimal
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.gate import problems
from onboarding.payload.plausibility import domain_of, implausible, normal_domain
from onboarding.payload.schema import OnboardingPayload, User, get
from onboarding.queues import QUEUES
from onboarding.steps.registry import HANDLERS
from tests.conftest import Payload

REQUIRED = [
    "customer.legal_name",
    "customer.domain",
    "customer.primary_contact.name",
    "customer.primary_contact.email",
    "commercial.plan_sku",
    "commercial.term",
    "ownership.crm_owner_id",
]


def missing(content: dict[str, Any]) -> dict[str, str]:
    return {problem.path: problem.reason for problem in problems(content)}


def test_a_full_payload_passes(payload: Payload) -> None:
    assert missing(payload()) == {}


@pytest.mark.parametrize("path", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  ", "TBD"])
def test_each_required_field_is_asked_for(payload: Payload, path: str, value: str | None) -> None:
    assert list(missing(payload(**{path: value}))) == [path]


def test_nothing_else_is_required(payload: Payload) -> None:
    content = payload(kickoff={"urgency": "high"})
    bare: dict[str, Any] = {"kickoff": content["kickoff"]}
    for path in REQUIRED:
        part = bare
        *parents, name = path.split(".")
        for parent in parents:
            part = part.setdefault(parent, {})
        part[name] = get(content, path)
    assert missing(bare) == {}


@pytest.mark.parametrize("kickoff", [{"start_date": "2026-12-01"}, {"urgency": "normal"}])
def test_a_date_or_an_urgency_is_enough(payload: Payload, kickoff: dict[str, str]) -> None:
    assert missing(payload(kickoff=kickoff)) == {}


@pytest.mark.parametrize("kickoff", [{}, {"start_date": "soon"}, {"urgency": "tbd"}])
def test_neither_date_nor_urgency_is_asked_for_once(payload: Payload, kickoff: dict[str, str]) -> None:
    assert list(missing(payload(kickoff=kickoff))) == ["kickoff.start_date"]


def test_no_domain_asks_for_the_billing_email_instead(payload: Payload) -> None:
    without = payload(customer__no_domain=True, customer__domain="")
    assert list(missing(without)) == ["commercial.billing_email"]
    assert missing(without | {"commercial": {**without["commercial"], "billing_email": "ap@acme-logistics.com"}}) == {}


@pytest.mark.parametrize(
    ("value", "type_", "reason"),
    [
        ("Acme Logistics", Type.TEXT, ""),
        ("TBD", Type.TEXT, "placeholder"),
        ("n/a", Type.TEXT, "placeholder"),
        ("---", Type.TEXT, "placeholder"),
        ("Test", Type.TEXT, "placeholder"),
        ("Testa Ltd", Type.TEXT, ""),
        ("jordan@acme-logistics.com", Type.EMAIL, ""),
        ("Jordan@Bücher.de", Type.EMAIL, ""),
        ("a@a.com", Type.EMAIL, "placeholder"),
        ("test@acme.io", Type.EMAIL, "placeholder"),
        ("jordan@example.com", Type.EMAIL, "placeholder"),
        ("jordan@gmial.com", Type.EMAIL, "did they mean gmail.com?"),
        ("jordan@gmail.com", Type.EMAIL, ""),
        ("jordan@acme", Type.EMAIL, "not an email address"),
        ("jordan at acme.com", Type.EMAIL, "not an email address"),
        ("jordan@acme.comm", Type.EMAIL, "no known top-level domain"),
        ("acme-logistics.com", Type.DOMAIN, ""),
        ("https://www.acme-logistics.com/about", Type.DOMAIN, ""),
        ("bücher.de", Type.DOMAIN, ""),
        ("acme.co.uk", Type.DOMAIN, ""),
        ("co.uk", Type.DOMAIN, "no known top-level domain"),
        ("gmail.com", Type.DOMAIN, "mail provider"),
        ("mail.gmx.de", Type.DOMAIN, "mail provider"),
        ("example.com", Type.DOMAIN, "placeholder"),
        ("acme", Type.DOMAIN, "not a domain"),
        ("127.0.0.1", Type.DOMAIN, "not a domain"),
        ("acme.internal", Type.DOMAIN, "no known top-level domain"),
        ("2026-12-01", Type.DATE, ""),
        ("2026-13-01", Type.DATE, "not a date"),
        ("next week", Type.DATE, "not a date"),
        ("jordan@acme.io", Type.NAME, "not a name"),
        ("Jordan Lee", Type.NAME, ""),
    ],
)
def test_plausibility(value: str, type_: Type, reason: str) -> None:
    said = implausible(value, type_)
    assert bool(said) == bool(reason)
    assert reason in said


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        (" HTTPS://www.Acme.com:443/path?x#y ", "acme.com"),
        ("acme.com.", "acme.com"),
        ("Bücher.de", "xn--bcher-kva.de"),
        ("", ""),
    ],
)
def test_domains_are_compared_in_one_form(value: str, normal: str) -> None:
    assert normal_domain(value) == normal


@pytest.mark.parametrize(
    ("email", "domain"),
    [
        ("kim@mail.acme-logistics.co.uk", "acme-logistics.co.uk"),
        ("kim@gmail.com", ""),
        ("kim@example.com", ""),
        ("nobody", ""),
        ("", ""),
    ],
)
def test_a_contacts_address_tells_the_domain_where_it_is_the_companys(email: str, domain: str) -> None:
    assert domain_of(email) == domain


# --- The catalogue against the schema -----------------------------------------------------------------------------------


def annotation_at(path: str) -> Any:
    model: Any = OnboardingPayload
    annotation: Any = None
    for part in path.split("."):
        assert issubclass(model, BaseModel), f"{path}: {part} lies in something that has no fields"
        annotation = model.model_fields[part].annotation
        model = annotation
    return annotation


SCHEMA_TYPES = {Type.FLAG: bool, Type.NUMBER: Decimal, Type.WHOLE: int, Type.PEOPLE: User}
LOOSE = (Type.LIST, Type.STRUCTURE)


@pytest.mark.parametrize("field", catalogue.FIELDS, ids=lambda field: field.path)
def test_every_catalogue_entry_is_a_field_of_the_schema(field: catalogue.Field) -> None:
    annotation = annotation_at(field.path)
    if field.type in LOOSE:
        assert get_origin(annotation) in (list, dict)
        return
    held = get_args(annotation)[0] if get_args(annotation) else annotation
    while get_origin(held) is not None and get_args(held):
        held = get_args(held)[0]
    assert held is SCHEMA_TYPES.get(field.type, str)
    assert held is not datetime
    assert field.queue in QUEUES


def test_no_path_stands_twice_in_the_catalogue() -> None:
    assert len(catalogue.BY_PATH) == len(catalogue.FIELDS)


def test_the_catalogue_requires_what_the_contract_requires() -> None:
    assert [field.path for field in catalogue.FIELDS if field.required] == REQUIRED


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=lambda handler: handler.name)
def test_every_field_that_a_handler_reads_is_in_the_catalogue(handler: Any) -> None:
    assert [path for path in handler.reads if path not in catalogue.BY_PATH] == []
