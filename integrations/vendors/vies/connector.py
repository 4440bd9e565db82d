"""VIES (register): the European Commission asks the member states' registers of VAT numbers.

Sources: see ``schemas``; ``POST /taxation_customs/vies/rest-api/check-vat-number`` and ``GET …/check-status``,
ec.europa.eu/assets/taxud/vow-information/swagger_publicVAT.yaml. It is public, and asks for no key. The country is the member
state's letters (Greece ``EL``, Northern Ireland ``XI``), and the number comes without them. Where a requester is named, the
answer has a consultation number, which is a proof for the tax office.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from integrations.connectors.options import Option
from integrations.connectors.register import RegisterConnector, RegisterEntry
from integrations.errors import Kind, ProviderError
from integrations.http.client import VendorHttp
from integrations.http.redaction import PERSONAL
from integrations.models import Connection
from integrations.vendors.vies.schemas import HIDDEN, Answer, Status, refusal

API = "/taxation_customs/vies/rest-api"
LETTERS: Mapping[str, str] = {
    **{code: code for code in "AT BE BG CY CZ DE DK EE ES FI FR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()},
    "GR": "EL",
}
"""ISO 3166-1 alpha-2 -> as VIES calls the member state."""
_PREFIX = 2
_SAME = {"VALID": True, "INVALID": False}


class _ViesHttp(VendorHttp):
    """A number may be a sole trader's, whose name is then a person's: no record shows it."""

    def _record(self, method: str, path: str, *, response: Any = None, **rest: Any) -> None:
        if isinstance(response, dict) and response.get("name") not in (None, "", HIDDEN):
            response = {**response, "name": PERSONAL}
        super()._record(method, path, response=response, **rest)


class Vies(RegisterConnector):
    provider = "vies"
    systems = frozenset({"register"})
    hosts = ("ec.europa.eu",)
    default_base_url = "https://ec.europa.eu"
    http_class: ClassVar[type[VendorHttp]] = _ViesHttp
    options = (
        Option(
            name="requester",
            label="Our VAT number",
            help="With its country's letters, such as DE123456789. With it VIES gives each answer a consultation number, which is "
            "kept as a proof.",
            empty="answers have no consultation number",
            pattern=r"[A-Z]{2}[0-9A-Z+*]{2,12}",
            allowed="a VAT number with its country's letters and without separators",
        ),
    )
    probes = "that the service answers and is available"

    def __init__(self, connection: Connection, http: VendorHttp) -> None:
        super().__init__(connection, http)
        http.denies = self.translate  # an error may come with the status 200

    def covers(self, country: str) -> bool:
        return country in LETTERS

    def look_up(self, *, country: str, tax_id: str, name: str) -> RegisterEntry:
        letters, number = self._split(country, tax_id)
        asked = {"countryCode": letters, "vatNumber": number}
        if requester := self.option("requester"):
            own = {"requesterMemberStateCode": requester[:_PREFIX], "requesterNumber": requester[_PREFIX:]}
            asked |= own
        if name:
            asked["traderName"] = name
        said = self.http.request("POST", f"{API}/check-vat-number", json=asked, expect=Answer, reads=True).data
        if (said.countryCode or letters, said.vatNumber or number) != (letters, number):
            raise ProviderError(Kind.MALFORMED, "VIES answered for another number than it was asked for")
        consulted = f", consultation number {said.requestIdentifier}" if said.requestIdentifier else ""
        return RegisterEntry(
            is_valid=said.valid,
            name=said.told_name,
            is_same_name=_SAME.get(said.traderNameMatch),
            evidence=f"VIES, {said.requestDate or 'without a date'}{consulted}",
        )

    @staticmethod
    def _split(country: str, tax_id: str) -> tuple[str, str]:
        letters = LETTERS[country]
        return letters, tax_id.removeprefix(letters)

    def probe(self) -> str:
        status = self.http.request("GET", f"{API}/check-status", expect=Status).data
        if not status.vow.available:
            raise ProviderError(Kind.TEMPORARY, "VIES says that it is not available")
        there = sum(each.availability == "Available" for each in status.countries)
        return f"VIES, {there} of {len(status.countries)} registers available"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        return refusal(status, body)
