"""The vendors' own pages, as far as links lead there: one object, read-only, for people who follow a link from the console.

Like the control API they ask for no token: the sandbox listens on loopback alone and holds sample data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from urllib.parse import unquote

from integrations.sandbox.dialect import Answer, Dialect, iso
from integrations.sandbox.store import Json, Row, Tx

_TITLES = ("name", "dealname", "subject", "title", "email")
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}
_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}"
    "dl{display:grid;grid-template-columns:minmax(6rem,12rem) minmax(0,1fr);gap:.375rem 1rem}dt{opacity:.7}"
    "dd{margin:0;overflow-wrap:anywhere;white-space:pre-wrap}p{opacity:.7}"
)


@dataclass(frozen=True)
class Place:
    """Whose page, of which object; an empty ``kind`` means any."""

    vendor: str
    kind: str
    row_id: str


def place(dialects: Mapping[str, Dialect], path: str) -> Place | None:
    """What a vendor shows at this path; None where it is no page of any."""
    for vendor, dialect in dialects.items():
        if dialect.page and (at := dialect.page.fullmatch(path)):
            named = at.groupdict()
            kind = named.get("kind") or dialect.page_types.get(named.get("type") or "", "")
            return Place(vendor, kind, unquote(named["id"]))
    return None


def page(tx: Tx, dialects: Mapping[str, Dialect], at: Place) -> Answer:
    kinds = [at.kind] if at.kind else dialects[at.vendor].counted
    found = next((row for kind in kinds if (row := tx.get(at.vendor, kind, at.row_id))), None)
    body = _told(at.vendor, found) if found else "<h1>Nothing here</h1><p>This sandbox holds no such object.</p>"
    status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
    return Answer(status, headers=dict(_HEADERS), raw=("text/html; charset=utf-8", _html(body)))


def _told(vendor: str, row: Row) -> str:
    body: Json = row.body
    title = next((str(body[name]) for name in _TITLES if body.get(name)), f"{row.kind} {row.id}")
    facts = {"id": row.id, "created": iso(row.created_at), **body}
    lines = (
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_value(value))}</dd>" for name, value in facts.items()
    )
    where = f"{row.kind.capitalize()} at the sandbox’s {vendor.capitalize()}; read-only"
    return f"<h1>{escape(title)}</h1><p>{escape(where)}</p><dl>{''.join(lines)}</dl>"


def _value(value: object) -> str:
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _html(body: str) -> bytes:
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Sandbox</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>".encode()
