"""What a vendor can do is declared once; what is entered for a connection, and the documentation, follow from it."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from integrations.connectors import vendor_reference
from integrations.connectors.declaration import load, vendors
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import Option, OptionType
from integrations.connectors.register import RegisterConnector
from integrations.connectors.registry import PROVIDERS, WEBHOOK_SECRET
from integrations.enums import System

KINDS = {each.KIND for each in VendorObject.__subclasses__() if hasattr(each, "KIND")}


@pytest.mark.parametrize("name", vendors())
def test_a_declaration_is_complete(name: str) -> None:
    info = PROVIDERS[name]
    assert info.probes
    assert {System(each) for each in info.systems}
    assert {each.kind for each in info.kinds} <= KINDS
    options = {option.name: option for option in info.options}
    assert len(options) == len(info.options)
    for option in info.options:
        assert option.help
        option.check(option.default or ("" if option.pattern else "1"))
        assert (option.type is OptionType.CHOICE) == bool(option.choices)
    for capability in info.kinds:
        assert capability.rollback
        if capability.search_lag_option:
            assert options[capability.search_lag_option].type is OptionType.SECONDS
    is_register = info.connector is not None and issubclass(info.connector, RegisterConnector)
    assert info.connector is None or info.kinds or info.webhook or is_register, "it writes, or is read for what we lack"
    assert info.webhook is None or info.webhook.events


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_webhook_secret_is_offered_where_there_are_events_alone(name: str) -> None:
    info = PROVIDERS[name]
    assert any(secret.name == WEBHOOK_SECRET for secret in info.secrets) == (info.webhook is not None)


def test_stripes_declared_events_are_those_that_it_reads() -> None:
    readers = load("integrations.vendors.stripe.payments.READERS")
    assert set(PROVIDERS["stripe"].webhook.events) == set(readers)  # type: ignore[union-attr]


def test_the_documentation_is_the_declarations() -> None:
    documented = (Path(settings.BASE_DIR) / "docs" / "vendors.md").read_text()
    assert documented == vendor_reference.page(), "write it anew: manage.py vendor_reference > docs/vendors.md"


@pytest.mark.parametrize(
    ("given", "good", "bad"),
    [
        ({"type": OptionType.SECONDS}, ["0", "2.5", ""], ["-1", "soon", "nan", "inf", "5 s"]),
        ({"type": OptionType.WHOLE}, ["0", "12"], ["1.5", "-1", "two"]),
        ({"type": OptionType.FLAG}, ["on", "Off", "1", "no", ""], ["maybe"]),
        ({"type": OptionType.CHOICE, "choices": ("eu", "us")}, ["eu", ""], ["asia"]),
        ({"type": OptionType.LIST, "pattern": "[a-z]+"}, ["a, b", "a", ""], ["a, 1"]),
        ({"pattern": "[a-z]+", "allowed": "letters"}, ["abc", ""], ["a1"]),
        ({"required": True}, ["x", 3], ["", " "]),
    ],
)
def test_a_value_is_checked_by_its_options_type(given: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    option = Option(name="it", **given)
    for value in good:
        option.check(value)
    for value in bad:
        with pytest.raises(ValueError, match="option it"):
            option.check(value)


def test_a_refusal_names_the_option_the_value_and_what_is_allowed() -> None:
    option = Option(name="region", type=OptionType.CHOICE, choices=("eu", "us"))
    with pytest.raises(ValueError, match=r"^option region: 'asia' is not allowed: it must be eu or us$"):
        option.check("asia")


def test_an_empty_value_stands_for_the_default_unless_it_means_something() -> None:
    plain, meaning = Option(name="a", default="x"), Option(name="a", default="x", empty="none")
    assert [plain.effective(None), plain.effective(""), plain.effective("y")] == ["x", "x", "y"]
    assert [meaning.effective(None), meaning.effective("")] == ["x", ""]
