"""What Odoo answers over JSON-2, and what its refusals mean.

Sources: odoo.com/documentation/19.0/developer/reference/external_api.html (statuses, the five fields of an error, bare values as
answers) and Odoo's own source (github.com/odoo/odoo): ``addons/rpc/controllers/json2.py`` (a recordset is a list of ids; 404
for an unknown model or method, 422 for arguments that do not fit), ``odoo/exceptions.py``. An empty value is ``false``, a
reference to one record ``[id, name]``. A call is one transaction: what is refused, with whatever status, had no effect.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from pydantic import RootModel, StrictBool, model_validator

from integrations.connectors.answers import VendorAnswer
from integrations.errors import FieldProblem, Kind, ProviderError

LOCK_WAIT = 2.0
"""Seconds: somebody else writes the same record now."""
_OURS = frozenset({"builtins.ValueError", "builtins.KeyError", "builtins.TypeError"})
"""A 500 by which Odoo says that we named something it does not have: no outage."""
_FIELD = re.compile(r"Invalid field '([^']+)'")


class Record(VendorAnswer):
    """A row of ``search_read``; ``false`` in a field that is no flag says that it is empty."""

    id: int

    @model_validator(mode="before")
    @classmethod
    def _without_false(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        flags = {name for name, field in cls.model_fields.items() if field.annotation is bool}
        return {name: value for name, value in given.items() if value is not False or name in flags}


class Partner(Record):
    name: str = ""
    ref: str = ""
    vat: str = ""
    email: str = ""
    city: str = ""
    active: bool = True
    create_date: str = ""
    write_date: str = ""


class Order(Record):
    name: str = ""
    client_order_ref: str = ""
    origin: str = ""
    state: str = ""
    company_id: tuple[int | str, str] | None = None
    create_date: str = ""
    write_date: str = ""


class Line(Record):
    product_id: tuple[int | str, str] | None = None
    display_type: str = ""
    name: str = ""


class Coded(Record):
    """A product, an analytic account, a currency, … : what it is found by."""

    default_code: str = ""
    code: str = ""
    name: str = ""
    currency_id: tuple[int | str, str] | None = None
    company_id: tuple[int | str, str] | None = None


class Partners(RootModel[list[Partner]]):
    pass


class Orders(RootModel[list[Order]]):
    pass


class Lines(RootModel[list[Line]]):
    pass


class CodedList(RootModel[list[Coded]]):
    pass


class Ids(RootModel[list[int]]):
    pass


class Done(RootModel[StrictBool]):
    pass


class Flag(RootModel[bool]):
    pass


class Context(VendorAnswer):
    """Of the user whose key it is."""

    uid: int
    lang: str = ""


class Version(VendorAnswer):
    version: str


def moment(text: str) -> datetime | None:
    """``YYYY-MM-DD HH:MM:SS``, which is UTC and does not say so."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None


def refusal(status: int, body: Any, sent: Mapping[str, str]) -> ProviderError | None:
    """``sent``: our values, by our field, that a refusal may quote. None for the common reading by status.

    Takes the traceback out of ``body``: it is neither stored nor shown.
    """
    if not isinstance(body, dict) or not isinstance(body.get("name"), str):
        return None
    body.pop("debug", None)
    name, message = body["name"], _one_line(body.get("message"))
    if status == HTTPStatus.NOT_FOUND and name != "odoo.exceptions.MissingError":
        told = f"Odoo has not what we asked for ({message}): is the app installed, and is it version 19 or later?"
        return ProviderError(Kind.NOT_CONFIGURED, told, status)
    if status == HTTPStatus.CONFLICT:
        return ProviderError(Kind.TEMPORARY, f"Odoo says that the record is in use: {message}", status, LOCK_WAIT)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return _invalid(status, message, sent)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and name in _OURS:
        found = _FIELD.search(message)
        hint = f"it has no field {found[1]} here" if found else "it does not know what was sent"
        return ProviderError(Kind.NOT_CONFIGURED, f"Odoo did not accept the request, as {hint}: {message}", status)
    return None


def _invalid(status: int, message: str, sent: Mapping[str, str]) -> ProviderError:
    """Odoo names no field, and speaks the language of its user: whose value it quotes is the one that it means."""
    if "missing a required argument" in message or "unexpected keyword argument" in message:
        told = f"Odoo takes other arguments than it documents ({message}): a module there may have renamed them"
        return ProviderError(Kind.NOT_CONFIGURED, told, status)
    plain = compact(message)
    quoted = [field for field, value in sent.items() if len(compact(value)) > 1 and compact(value) in plain]
    fields = [FieldProblem(field, message, field) for field in quoted]
    return ProviderError(Kind.INVALID, f"Odoo did not accept this: {message}", status, fields=fields)


def compact(text: str) -> str:
    """Letters and digits alone, in capitals: as tax ids are compared."""
    return "".join(character for character in text.upper() if character.isalnum())


def _one_line(text: Any) -> str:
    return " ".join(str(text or "no reason given").split())
