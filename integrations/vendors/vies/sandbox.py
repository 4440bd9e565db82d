"""VIES's dialect: the numbers that member states know, what they keep to themselves, and how they fail.

Taken from ec.europa.eu/assets/taxud/vow-information/swagger_publicVAT.yaml and the description in
ec.europa.eu/taxation_customs/vies/checkVatService.wsdl (``vatNumber``: ``[0-9A-Za-z\\+\\*\\.]{2,12}``) and checkVatTestService.wsdl
(the numbers of the test service). A business error comes with the status 200. An account of ours is not needed, nor looked at.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, iso, route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integrations.sandbox.store import Json, Tx

STATES = frozenset("AT BE BG CY CZ DE DK EE EL ES FI FR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK XI".split())
_KEEP_NAMES = frozenset({"DE", "ES"})
_COMPARE_NAMES = frozenset({"ES"})
_HIDDEN, _NOT_PROCESSED = "---", "NOT_PROCESSED"
_NUMBER = re.compile(r"[0-9A-Za-z+*.]{2,12}")
_API = "/taxation_customs/vies/rest-api"
_TRADER = ("Name", "Street", "PostalCode", "City", "CompanyType")
_TEST_NUMBERS = {
    "201": "INVALID_INPUT", "202": "INVALID_REQUESTER_INFO", "300": "SERVICE_UNAVAILABLE", "301": "MS_UNAVAILABLE",
    "302": "TIMEOUT", "400": "VAT_BLOCKED", "401": "IP_BLOCKED", "500": "GLOBAL_MAX_CONCURRENT_REQ",
    "501": "GLOBAL_MAX_CONCURRENT_REQ_TIME", "600": "MS_MAX_CONCURRENT_REQ", "601": "MS_MAX_CONCURRENT_REQ_TIME",
}  # fmt: skip


class Vies(Dialect):
    name = "vies"
    prefix = base_path = "/vies"
    system = "register"
    counted = ()
    fixed_kinds = ("numbers",)
    id_base = 1
    #: ``unavailable``: member states that do not answer, with commas between; ``error``: a code that every look-up is answered with
    defaults = {"search_lag": 0.0, "unavailable": "", "error": ""}
    own_settings = frozenset({"unavailable", "error"})
    sends_retry_after = False
    has_tokens = False
    always = frozenset({"valid", "isValid", "available", "vow"})
    choices = frozenset({"availability", "traderNameMatch", "userError"})

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:  # noqa: ARG002
        """The service is public."""
        return True

    def refusal(self, status: int, message: str) -> Answer:
        told = message or "An unexpected error occurred. Please retry later or contact the support team."
        return _error(status, "VOW-ERR-1", told)

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        """We make nothing there."""
        return []

    def preseed(self, tx: Tx) -> None:
        known = (
            ("DE", "136695976", "Quartz Aerospace GmbH", "Domstrasse 1\n20095 Hamburg"),
            ("FR", "40303265045", "SA SODIMAS", "RUE DU STADE\n26800 PORTES LES VALENCE"),
            ("AT", "U13585627", "Alpine Example GmbH", "Ringstrasse 2\nAT-1010 Wien"),
            ("ES", "A13585625", "EJEMPLO DEL NORTE SA", "CALLE MAYOR 1\n28013 MADRID"),
        )
        for state, number, name, address in known:
            self.seed(tx, "numbers", {"countryCode": state, "vatNumber": number, "name": name, "address": address})

    # -- look-ups ------------------------------------------------------------------------------------------------

    @route("POST", f"{_API}/check-vat-number")
    def check(self, call: Call) -> Answer:
        state, number = self._asked(call)
        if code := self._failure(call, state):
            return _error(200, code)
        return Answer(200, self._found(call, state, number))

    @route("POST", f"{_API}/check-vat-test-service")
    def test(self, call: Call) -> Answer:
        """Answers by the number, whatever the country."""
        state, number = self._asked(call)
        if code := _TEST_NUMBERS.get(number):
            return _error(200, code)
        there = {"name": "John Doe", "address": "123 Main St, Anytown, UK"} if number == "100" else None
        return Answer(200, self._answer(call, state, number, there))

    @route("GET", f"{_API}/ms/{{state}}/vat/{{number}}")
    def look(self, call: Call, state: str, number: str) -> Answer:
        if state not in STATES or not _NUMBER.fullmatch(number):
            return Answer(200, _look(call, number, "INVALID_INPUT", {}))
        if code := self._failure(call, state):
            return Answer(200, _look(call, number, code, {}))
        found = self._found(call, state, number)
        return Answer(200, _look(call, number, "VALID" if found["valid"] else "INVALID", found))

    @route("GET", f"{_API}/check-status")
    def status(self, call: Call) -> Answer:
        down = _listed(call.settings["unavailable"])
        shown = [
            {"countryCode": state, "availability": "Unavailable" if state in down else "Available"}
            for state in sorted(STATES)
        ]
        return Answer(200, {"vow": {"available": call.settings["error"] != "SERVICE_UNAVAILABLE"}, "countries": shown})

    def _asked(self, call: Call) -> tuple[str, str]:
        """Raises ``Refused`` for what is no request, or names no member state or no number."""
        if not call.says_json:
            raise self.refuse(415, "Unsupported Media Type")
        given = {name: value for name, value in call.body.items() if value not in (None, "")}
        if not {"countryCode", "vatNumber"} <= given.keys():
            raise _refuse(400, "VOW-ERR-11", "A mandatory field is missing")
        if any(not isinstance(value, str) for value in given.values()):
            raise _refuse(500, "VOW-ERR-1")
        requester = given.get("requesterMemberStateCode"), given.get("requesterNumber")
        if any(requester) and (requester[0] not in {*STATES, "EU"} or not _NUMBER.fullmatch(requester[1] or "")):
            raise _refuse(200, "INVALID_REQUESTER_INFO")
        state, number = given["countryCode"], given["vatNumber"]
        if state not in STATES:
            raise _refuse(200, "INVALID_INPUT")
        if not _NUMBER.fullmatch(number):
            raise _refuse(400, "VOW-ERR-2600", "The Vat number does not respect the configured pattern")
        return state, number

    @staticmethod
    def _failure(call: Call, state: str) -> str:
        return "MS_UNAVAILABLE" if state in _listed(call.settings["unavailable"]) else str(call.settings["error"])

    def _found(self, call: Call, state: str, number: str) -> Json:
        rows = call.tx.find(self.name, "numbers", "vatNumber", number)
        there = next((row.body for row in rows if row.body["countryCode"] == state), None)
        return self._answer(call, state, number, there)

    def _answer(self, call: Call, state: str, number: str, there: Json | None) -> Json:
        kept = there is None or state in _KEEP_NAMES
        compared = {f"trader{part}Match": _NOT_PROCESSED for part in _TRADER}
        if there and state in _COMPARE_NAMES and (asked := call.body.get("traderName")):
            same = " ".join(asked.casefold().split()) == " ".join(str(there["name"]).casefold().split())
            compared["traderNameMatch"] = "VALID" if same else "INVALID"
        identifier = f"WAPIAAAA{secrets.token_urlsafe(6)}" if there and call.body.get("requesterNumber") else ""
        return {
            "countryCode": state,
            "vatNumber": number,
            "requestDate": iso(call.tx.now),
            "valid": there is not None,
            "requestIdentifier": identifier,
            "name": _HIDDEN if kept or there is None else there["name"],
            "address": _HIDDEN if kept or there is None else there["address"],
            **{f"trader{part}": call.body.get(f"trader{part}") or _HIDDEN for part in _TRADER},
            **compared,
        }


def _look(call: Call, number: str, code: str, found: Json) -> Json:
    approximate: Json = dict.fromkeys(("name", "street", "postalCode", "city", "companyType"), _HIDDEN)
    matches = dict.fromkeys(("matchName", "matchStreet", "matchPostalCode", "matchCity", "matchCompanyType"), 3)
    return {
        "isValid": code == "VALID",
        "requestDate": iso(call.tx.now),
        "userError": code,
        "name": found.get("name", _HIDDEN),
        "address": found.get("address", _HIDDEN),
        "requestIdentifier": "",
        "originalVatNumber": number,
        "vatNumber": number,
        "viesApproximate": {**approximate, **matches},
    }


def _listed(text: Any) -> set[str]:
    return {part.strip() for part in str(text).split(",")}


def _error(status: int, code: str, message: str = "") -> Answer:
    return Answer(
        status,
        {"actionSucceed": False, "errorWrappers": [{"error": code, **({"message": message} if message else {})}]},
    )


def _refuse(status: int, code: str, message: str = "") -> Refused:
    return Refused(_error(status, code, message))
