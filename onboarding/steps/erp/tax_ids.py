"""Tax ids: what a country's rules say of one (python-stdnum), and how it is written.

Which number a country's invoices carry: the VAT number; where there is none, what python-stdnum has in its place. The prefix
of the European Union's members: Commission Implementing Regulation, as in ec.europa.eu/taxation_customs/vies (Greece: EL).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from stdnum.eu.vat import MEMBER_STATES
from stdnum.exceptions import InvalidChecksum, InvalidLength, ValidationError
from stdnum.util import get_cc_module

from onboarding.payload.catalogue import Type
from onboarding.payload.plausibility import implausible

TAX_ID, COUNTRY = "customer.tax_id", "customer.country"
_ALSO = {"UK": "GB", "EL": "GR"}
_PREFIXES = {"GR": "EL"}
_INSTEAD_OF_VAT = {"US": "ein"}
_SHORTEST, _LONGEST = 4, 40


@dataclass(frozen=True)
class TaxIdProblem:
    """Why a tax id is not used, and where in the payload a person fixes that."""

    path: str
    reason: str
    may_be_confirmed: bool = False
    """A person who knows better may stand by the value as it is."""


def country_code(country: str) -> str:
    """ISO 3166-1 alpha-2 in capitals; empty for what is no such code."""
    code = country.strip().upper()
    return _ALSO.get(code, code) if len(code) == 2 and code.isascii() and code.isalpha() else ""  # noqa: PLR2004


def normal(country: str, tax_id: str) -> str:
    """As it is written without separators, in the European Union with its prefix; what breaks the rules stays as it is."""
    code, rules = country_code(country), _rules(country)
    if rules is None:
        return _plain(tax_id)
    try:
        number = str(rules.validate(tax_id))
    except ValidationError:
        return _plain(tax_id)
    if code.lower() not in MEMBER_STATES:
        return number
    prefix = _PREFIXES.get(code, code)
    return number if number.startswith(prefix) else f"{prefix}{number}"


def problem(country: str, tax_id: str, not_needed_in: Collection[str] = ()) -> TaxIdProblem | None:
    """What speaks against the tax id; None where nothing does, as far as it can be checked."""
    text, code = tax_id.strip(), country_code(country)
    if not code:
        reason = "is needed to check the tax id" if not country.strip() else "is no two-letter country code, such as DE"
        return TaxIdProblem(COUNTRY, reason)
    if not text:
        return None if code in not_needed_in else TaxIdProblem(TAX_ID, "is missing")
    if reason := implausible(text, Type.TEXT):
        return TaxIdProblem(TAX_ID, reason)
    rules = _rules(country)
    if rules is None:
        is_one = _SHORTEST <= len(_plain(text)) <= _LONGEST and any(each.isdecimal() for each in text)
        return None if is_one else TaxIdProblem(TAX_ID, "does not look like a tax id")
    try:
        rules.validate(text)
    except InvalidChecksum:
        return TaxIdProblem(TAX_ID, f"has a digit wrong: its check digit does not fit, by the rules of {code}")
    except InvalidLength:
        return TaxIdProblem(TAX_ID, f"has too many or too few digits for one of {code}")
    except ValidationError:
        return TaxIdProblem(TAX_ID, f"is not written as one of {code} is")
    return None


def finding(country: str, tax_id: str) -> str:
    """What was checked by these rules, in words for the run's page and without a full stop, where nothing speaks against it."""
    code = country_code(country)
    if not tax_id.strip():
        return f"No tax id, and none is needed in {code}: nothing checked"
    return "Format checked" if _rules(country) else f"Format not checked (there are no rules for {code} here)"


def _rules(country: str) -> Any:
    """The country's module of python-stdnum; None where it has none."""
    code = country_code(country)
    return get_cc_module(code.lower(), _INSTEAD_OF_VAT.get(code, "vat")) if code else None


def _plain(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())
