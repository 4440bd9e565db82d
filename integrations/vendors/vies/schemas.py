"""What VIES answers, and what its errors mean.

Sources: ec.europa.eu/assets/taxud/vow-information/swagger_publicVAT.yaml (the answers; an error is ``actionSucceed: false`` with
``errorWrappers``, and may come with the status 200); the codes, ec.europa.eu/taxation_customs/vies/#/technical-information and the
description in ec.europa.eu/taxation_customs/vies/checkVatService.wsdl. A member state may keep name and address to itself
(``---``), and compare the name that was asked about, or not (``NOT_PROCESSED``).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictBool

from integrations.connectors.answers import VendorAnswer
from integrations.errors import FieldProblem, Kind, ProviderError

HIDDEN = "---"
_ABOUT_NUMBER = frozenset({"INVALID_INPUT", "VOW-ERR-11", "VOW-ERR-2600"})
_OVERALL_LIMIT = frozenset({"GLOBAL_MAX_CONCURRENT_REQ", "GLOBAL_MAX_CONCURRENT_REQ_TIME"})
_BLOCKED = frozenset({"VAT_BLOCKED", "IP_BLOCKED"})
_MEANINGS: Mapping[str, str] = {
    "MS_UNAVAILABLE": "the member state's register is not available",
    "MS_MAX_CONCURRENT_REQ": "the member state's register takes no more requests now",
    "MS_MAX_CONCURRENT_REQ_TIME": "the member state's register takes no more requests now",
    "SERVICE_UNAVAILABLE": "the service is not available",
    "TIMEOUT": "the member state's register did not answer in time",
}


class Answer(VendorAnswer):
    """Of ``check-vat-number``. Only ``valid`` is the verdict."""

    valid: StrictBool
    countryCode: str = ""  # noqa: N815
    vatNumber: str = ""  # noqa: N815
    requestDate: str = ""  # noqa: N815
    requestIdentifier: str = ""  # noqa: N815
    name: str = ""
    traderNameMatch: str = ""  # noqa: N815

    @property
    def told_name(self) -> str:
        return "" if self.name.strip() == HIDDEN else " ".join(self.name.split())


class Service(VendorAnswer):
    available: StrictBool


class Country(VendorAnswer):
    availability: str = ""


class Status(VendorAnswer):
    vow: Service
    countries: list[Country] = Field(default=[])


def code_of(body: Any) -> str:
    """The error that an answer tells of; empty where it tells of none."""
    if not isinstance(body, dict):
        return ""
    listed = body.get("errorWrappers")
    codes = (
        [str(each.get("error") or "") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    )
    return next(filter(None, codes), "UNKNOWN" if body.get("actionSucceed") is False else "")


def refusal(status: int, body: Any) -> ProviderError | None:
    """None for the common reading by status. No error says that a number is invalid."""
    code = code_of(body)
    if not code or status >= 500:  # noqa: PLR2004  (whatever it says of itself then)
        return None
    if code in _ABOUT_NUMBER:
        told = "VIES does not take this as a VAT number of that country"
        return ProviderError(
            Kind.INVALID, f"{told} ({code})", status, fields=[FieldProblem("vatNumber", told, "tax_id")]
        )
    if code == "INVALID_REQUESTER_INFO":
        told = f"VIES does not take our own VAT number, the option requester ({code})"
        return ProviderError(Kind.NOT_CONFIGURED, told, status)
    if code in _BLOCKED:
        return ProviderError(Kind.FORBIDDEN, f"VIES has blocked this ({code})", status)
    if code in _OVERALL_LIMIT:
        return ProviderError(Kind.RATE_LIMIT, f"VIES has too many requests ({code})", status)
    return ProviderError(
        Kind.TEMPORARY, f"VIES gave no answer: {_MEANINGS.get(code, 'it names an error')} ({code})", status
    )
