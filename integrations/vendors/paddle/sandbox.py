"""Paddle Billing's dialect, as far as payments are read: customers, their businesses and addresses, transactions.

Taken from developer.paddle.com/api-reference (customers, businesses, addresses, transactions, about/errors,
about/rate-limiting, about/pagination), errors/shared (not_found, invalid_token: a 403, too_many_requests), and the answers in
github.com/PaddleHQ/paddle-python-sdk (tests/Functional/Resources).
"""

from __future__ import annotations

import secrets
from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Call, Dialect, iso, key_of, route
from integrations.sandbox.store import Json, Row, Tx

_DOCS = "https://developer.paddle.com/v1/errors/shared"
_CODES = {
    HTTPStatus.UNAUTHORIZED: "invalid_token",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.TOO_MANY_REQUESTS: "too_many_requests",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable",
}
_WORDS = {
    "invalid_token": "Invalid or revoked API key.",
    "too_many_requests": (
        "IP address exceeded the allowed rate limit. Retry after the number of seconds in the Retry-After header."
    ),
}
_LARGEST_PAGE = 200
_USUAL_PAGE = 50
_USUAL: dict[str, Json] = {
    "customers": {"name": None, "status": "active", "custom_data": None, "marketing_consent": False, "locale": "en"},
    "businesses": {
        "status": "active", "company_number": None, "tax_identifier": None, "contacts": [], "custom_data": None,
    },
    "addresses": {
        "status": "active", "description": None, "first_line": None, "second_line": None, "city": None,
        "postal_code": None, "region": None, "custom_data": None,
    },
    "transactions": {},
}  # fmt: skip


class Paddle(Dialect):
    name = "paddle"
    prefix = "/paddle"
    system = "billing"
    base_path = "/paddle"
    counted = ("customers", "businesses", "addresses", "transactions")
    id_base = 1
    always = frozenset(
        {"data", "meta", "pagination", "id", "email", "status", "country_code", "details", "totals", "adjusted_totals",
         "total", "grand_total", "currency_code", "subtotal", "discount", "credit"}
    )  # fmt: skip
    choices = frozenset({"status", "origin", "collection_mode"})

    def refusal(self, status: int, message: str) -> Answer:
        code = _CODES.get(HTTPStatus(status), "internal_error" if status >= 500 else "bad_request")  # noqa: PLR2004
        kind = "api_error" if status >= 500 else "request_error"  # noqa: PLR2004
        error = {
            "type": kind,
            "code": code,
            "detail": _WORDS.get(code) or message or code.replace("_", " ").capitalize(),
            "documentation_url": f"{_DOCS}/{code}",
        }
        # A key that Paddle does not know is forbidden, not unauthorized.
        answered = HTTPStatus.FORBIDDEN if status == HTTPStatus.UNAUTHORIZED else status
        return Answer(answered, {"error": error, "meta": _meta()})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        return key_of(body, "email") if kind == "customers" else []

    def preseed(self, tx: Tx) -> None:
        """A new account has no customers."""

    @route("GET", "/customers")
    def customers(self, call: Call) -> Answer:
        given = call.query.get("per_page", str(_USUAL_PAGE))
        if not given.isdecimal() or not 1 <= int(given) <= _LARGEST_PAGE:
            raise self.refuse(400, "Invalid request.")
        rows, after = call.tx.rows(self.name, "customers"), call.query.get("after")
        start = next((place + 1 for place, row in enumerate(rows) if row.id == after), 0)
        page, more = rows[start : start + int(given)], len(rows) > start + int(given)
        following = f"{self.origin}{self.prefix}/customers?per_page={given}&after={page[-1].id if page else ''}"
        pagination = {
            "per_page": int(given),
            "next": following,
            "has_more": more,
            "estimated_total": len(rows),
        }
        return Answer(200, {"data": [_view(row) for row in page], "meta": {**_meta(), "pagination": pagination}})

    @route("GET", "/customers/{id}")
    def customer(self, call: Call, row_id: str) -> Answer:
        return self._one(call, "customers", row_id)

    @route("GET", "/customers/{id}/businesses/{id}")
    def business(self, call: Call, customer_id: str, row_id: str) -> Answer:
        return self._one(call, "businesses", row_id, of=customer_id)

    @route("GET", "/customers/{id}/addresses/{id}")
    def address(self, call: Call, customer_id: str, row_id: str) -> Answer:
        return self._one(call, "addresses", row_id, of=customer_id)

    @route("GET", "/transactions/{id}")
    def transaction(self, call: Call, row_id: str) -> Answer:
        return self._one(call, "transactions", row_id)

    def _one(self, call: Call, kind: str, row_id: str, *, of: str = "") -> Answer:
        row = call.tx.get(self.name, kind, row_id)
        if row is None or (of and row.body.get("customer_id") != of):
            raise self.refuse(404, f"Entity {row_id} not found")
        return Answer(200, {"data": _view(row), "meta": _meta()})


def _view(row: Row) -> Json:
    stamps = {"created_at": iso(row.created_at), "updated_at": iso(row.updated_at)}
    return {**_USUAL[row.kind], **stamps, **row.body, "id": row.id}


def _meta() -> Json:
    return {"request_id": secrets.token_hex(16)}
