"""International domains by IDNA 2008, at every door: ``straße-x.de`` is not ``strasse-x.de``, which is somebody else's."""

import ast
from pathlib import Path
from typing import Any

import pytest

from exceptions_queue.search import runs_matching
from integrations.sandbox.control import SandboxControl
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction
from onboarding.payload.catalogue import Type
from onboarding.payload.plausibility import domain_of, implausible, normal_domain
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, ticket_of

OWN, OTHERS = "xn--strae-x-3va.de", "strasse-x.de"
ZWJ, ZWNJ = "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"
CUSTOMER: dict[str, Any] = {
    "customer__legal_name": "Straße X",
    "customer__domain": "Straße-X.de",
    "customer__primary_contact": {"name": "Jordan Lee", "email": "Jordan@Straße-X.de"},
}


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("straße-x.de", OWN),
        ("STRAẞE-X.DE", OWN),
        (OWN.upper(), OWN),
        ("https://www.straße-x.de/", OWN),
        ("οδος.gr", "xn--pxavbm.gr"),
        ("www.gr.ΟΔΟΣ", "gr.xn--pxavbq"),
        (f"क्{ZWJ}ष.com", "xn--11b2ezcw70k.com"),
        (f"نامه{ZWNJ}ای.com", "xn--mgba3gch31f060k.com"),
    ],
)
def test_a_domain_has_one_form_by_idna_2008(written: str, normal: str) -> None:
    assert normal_domain(written) == normal
    assert domain_of(f"kim@{written}") in (normal, "")


@pytest.mark.parametrize("domain", [f"a{ZWJ}b.com", f"a{ZWNJ}b.com", "☃.net", "xn--strae-x-zfa.de", "a..b\u00fc.de"])
def test_what_idna_2008_does_not_allow_counts_as_missing_with_the_reason(domain: str) -> None:
    assert "IDNA 2008" in implausible(domain, Type.DOMAIN)


def test_a_domain_that_cannot_be_registered_opens_a_ticket(accept: Accept, transactional_db: None) -> None:
    run = accept(customer__domain=f"a{ZWJ}b.com")
    (problem,) = ticket_of(run).problems
    assert (problem["path"], status_of(run)) == ("customer.domain", Status.AWAITING_DATA)
    assert "IDNA 2008" in problem["reason"]


@pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
def test_every_vendor_and_the_mail_get_the_customers_own_domain(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (theirs,) = sandbox.seed("hubspot", "companies", [{"name": "Strasse X", "domain": OTHERS}])
    run = accept(**CUSTOMER)
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    (company,) = [each for each in sandbox.objects("hubspot", "companies") if each["id"] != theirs]
    (contact,) = sandbox.objects("hubspot", "contacts")
    (organization,) = sandbox.objects("zendesk", "organizations")
    (user,) = sandbox.objects("zendesk", "users")
    (mail,) = sandbox.objects("mail", "messages")
    assert company["body"]["domain"] == OWN
    assert contact["body"]["email"] == f"jordan@{OWN}"
    assert organization["body"]["domain_names"] == [OWN]
    assert user["body"]["email"] == f"jordan@{OWN}"
    assert mail["body"]["to"] == [f"Jordan@{OWN}"]
    assert OTHERS not in str([each["body"] for each in sandbox.objects() if each["id"] != theirs])
    assert (
        list(runs_matching("straße-x.de", sees_personal=True))
        == list(runs_matching("Jordan@Straße-X.de", sees_personal=True))
        == [run]
    )
    assert not runs_matching(OTHERS, sees_personal=True).exists()
    settled()


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("listed", [OWN, "straße-x.de"])
def test_the_crms_account_is_found_however_it_writes_the_domain(
    accept: Accept, drain: Drain, sandbox: SandboxControl, listed: str
) -> None:
    (known,) = sandbox.seed("hubspot", "companies", [{"name": "X", "domain": listed, "hubspot_owner_id": "u_1"}])
    run = accept(**CUSTOMER, ownership={})
    drain()
    assert OnboardingTransaction.objects.get(pk=run.pk).crm_owner_id == "u_1"
    assert [each["id"] for each in sandbox.objects("hubspot", "companies")] == [known]


@pytest.mark.usefixtures("connections")
def test_help_desk_namesake_with_another_domain_is_not_linked(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.seed("zendesk", "organizations", [{"name": "Straße X", "domain_names": [OTHERS]}])
    run = accept(**CUSTOMER)
    drain()
    assert "domain" in str(ticket_of(run, "support.organization").candidates)


def test_idna_2003_codec_is_not_used() -> None:
    """Python's ``idna`` codec, and Django's ``punycode``, which uses it."""
    root = Path(__file__).parents[3]
    found = []
    for app in ("config", "exceptions_queue", "integrations", "onboarding"):
        for file in sorted((root / app).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    named = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                    if node.func.attr in ("encode", "decode") and "idna" in named:
                        found.append(f"{file}:{node.lineno}")
                if isinstance(node, ast.ImportFrom) and any(each.name == "punycode" for each in node.names):
                    found.append(f"{file}:{node.lineno}")
    assert found == []
