"""Zendesk's ticketing dialect: unique organization names, upserts by external id, idempotent tickets.

Taken from Zendesk's reference (developer.zendesk.com/api-reference/ticketing: organizations, users, user identities,
tickets; developer.zendesk.com/api-reference/introduction: requests, pagination, rate-limits, security-and-auth) and,
for the body of a 409, from github.com/zendesk/zendesk_api_client_php/issues/314.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode
from uuid import uuid4

from integrations.sandbox.dialect import Answer, Call, Dialect, iso, key_of, route
from integrations.sandbox.store import Json, Row, Tx, matches, term
from integrations.vendors.zendesk.sandbox import custom_fields, jobs, tickets, users
from integrations.vendors.zendesk.sandbox.fields import HIDDEN, USUAL, WRITABLE
from integrations.vendors.zendesk.sandbox.tickets import ME, text_of

_REPLAY_SECONDS = 2 * 3600
_RATE_LIMIT = 700
_SINGULAR = {
    "organizations": "organization", "users": "user", "tickets": "ticket", "organization_fields": "organization_field",
}  # fmt: skip
_LARGEST_PAGE = 100


class Zendesk(Dialect):
    name = "zendesk"
    prefix = "/zendesk/api/v2"
    system = "support"
    base_path = "/zendesk"
    page = re.compile(r"/zendesk/agent/(?P<kind>organizations|users|tickets)/(?P<id>[^/]+)")
    counted = ("organizations", "users", "tickets")
    id_base = 360_000_000_000
    #: ``bulk_imports``: whether Zendesk has enabled them for this account, which it does on request alone
    defaults = {"search_lag": 0.0, "job_seconds": 0.5, "bulk_imports": True}
    own_settings = frozenset({"bulk_imports"})
    transient_refusals = (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE)
    always = frozenset(
        {
            "organization", "organizations", "organization_merges", "loser_id", "winner_id", "organization_related", "users_count",
            "tickets_count", "ticket", "tickets", "subject", "organization_fields", "job_status", "results", "user", "users",
            "identities", "id", "name", "email", "external_id", "organization_id", "type", "value",
        }
    )  # fmt: skip
    choices = frozenset({"role", "status", "type"})

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:
        """An OAuth token as a bearer, or an API token by basic authentication as ``EMAIL/token:TOKEN``."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return super().accepts(tx, authorization, tokens)
        try:
            login, _, token = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return False
        email, _, means = login.rpartition("/")
        return means == "token" and token in tokens and self._may_sign_in(tx, email)

    def _may_sign_in(self, tx: Tx, email: str) -> bool:
        """Our own user, or a team member who is not suspended."""
        found = tx.find(self.name, "users", "email", email)
        return term(email) == ME["email"] or any(
            row.body.get("role") in ("agent", "admin") and not row.body.get("suspended") for row in found
        )

    def handle(self, call: Call) -> Answer:
        if call.method in ("POST", "PUT", "DELETE") and not call.says_json:
            return self.refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
        # Every path is known with and without .json.
        return super().handle(replace(call, path=call.path.removesuffix(".json")))

    def refusal(self, status: int, message: str) -> Answer:
        match status:
            case HTTPStatus.UNAUTHORIZED:
                return Answer(status, {"error": "Couldn't authenticate you"})
            case HTTPStatus.FORBIDDEN:
                body = {"error": "Forbidden", "description": "You do not have access to this page."}
            case HTTPStatus.NOT_FOUND:
                body = {"error": "RecordNotFound", "description": "Not found"}
            case HTTPStatus.TOO_MANY_REQUESTS:
                # As plain text, which Zendesk's front door does send.
                return Answer(status, raw=("text/plain", b"Number of allowed API requests per minute exceeded"))
            case HTTPStatus.CONFLICT:
                body = {"error": "DatabaseConflict", "description": "Database collision"}
            case HTTPStatus.SERVICE_UNAVAILABLE:
                # A timeout or a deadlock of its database; with Retry-After it may be tried again.
                return Answer(status, raw=("text/plain", b"Service unavailable, please try again"))
            case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                body = {"error": "InternalError", "description": message}
            case _:
                body = {"error": "InvalidParameter", "description": message}
        return Answer(status, body)

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        limit = limit or _RATE_LIMIT
        return {
            "X-Rate-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(remaining if remaining >= 0 else limit - 1),
        }

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        match kind:
            case "organizations":
                return key_of(body, "external_id", "name")
            case "users":
                return key_of(body, "email")
            case _:
                return key_of(body, "external_id")

    def preseed(self, tx: Tx) -> None:
        """A new account has no organizations of ours; its admin has added two fields to them."""
        for field in custom_fields.ADDED:
            self.add(tx, "organization_fields", field, seeded=True)

    def _view(self, row: Row, body: Json | None = None) -> Json:
        url = f"https://sandbox.zendesk.example/api/v2/{row.kind}/{row.id}.json"
        stamps = {"created_at": iso(row.created_at), "updated_at": iso(row.updated_at)}
        kept = row.body if body is None else body
        shown = {name: value for name, value in kept.items() if name not in HIDDEN}
        if row.kind == "tickets":
            shown["description"] = text_of(kept.get("comment"))
        if isinstance(shown.get("tags"), list):
            shown["tags"] = [str(each).lower() for each in shown["tags"]]
        return {**USUAL[row.kind], **shown, "id": int(row.id), "url": url, **stamps}

    def _one(self, status: int, row: Row) -> Answer:
        return Answer(status, {_SINGULAR[row.kind]: self._view(row)})

    def _row(self, call: Call, kind: str, row_id: str) -> Row:
        row = call.tx.get(self.name, kind, row_id)
        if row is None:
            raise self.refuse(404, "")
        return row

    def _given(self, call: Call, kind: str) -> Json:
        given = call.body.get(_SINGULAR[kind])
        if not isinstance(given, dict):
            raise self.refuse(400, f"{_SINGULAR[kind]} is missing")
        return self._writable(kind, given)

    @staticmethod
    def _writable(kind: str, given: Json) -> Json:
        body = {name: value for name, value in given.items() if name in WRITABLE[kind]}
        for name in ("name", "external_id"):  # surrounding whitespace is trimmed before anything is compared
            if isinstance(body.get(name), str):
                body[name] = body[name].strip()
        return body

    def _invalid(self, field: str, error: str, description: str) -> Answer:
        details = {field: [{"description": f"{field.capitalize()}: {description}", "error": error}]}
        body = {"error": "RecordInvalid", "description": "Record validation errors", "details": details}
        return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, body)

    def _save(self, call: Call, kind: str, given: Json, row: Row | None, unique: tuple[str, ...]) -> Answer:
        """Create, or change ``row``; 422 where a needed name is missing or a unique value is another's."""
        body = {**(row.body if row else {}), **given}
        if kind != "tickets" and not term(body.get("name") or ""):
            return self._invalid("name", "BlankValue", "cannot be blank")
        for field in unique:
            value = given.get(field)
            held = self._holders(call, kind, field, value) if term(value or "") else []
            if any(row is None or other.seq != row.seq for other in held):
                return self._invalid(field, "DuplicateValue", f"{value} has already been taken")
        if kind == "users" and (wrong_user := users.problem(body)):
            return self._invalid(*wrong_user)
        if kind == "organizations":
            known = [each.body for each in call.tx.rows(self.name, "organization_fields")]
            values, wrong = custom_fields.values(known, given.get("organization_fields"))
            if wrong:
                return self._invalid(wrong, "InvalidValue", "is invalid")
            stored = row.body.get("organization_fields") or {} if row else {}
            body["organization_fields"] = custom_fields.shown(known, {**stored, **values})
        if kind == "users" and row is not None:
            body = users.with_second_email(row.body, body)
        organization = given.get("organization_id")
        if organization and call.tx.get(self.name, "organizations", str(organization)) is None:
            return self._invalid("organization", "InvalidValue", "is invalid")
        if row is not None:
            return self._one(200, call.tx.update(row, body, lag=call.lag))
        return self._one(201, self.add(call.tx, kind, body, lag=call.lag))

    def _holders(self, call: Call, kind: str, field: str, value: object) -> list[Row]:
        """Who has this value; a user has each of their addresses."""
        second = call.tx.find(self.name, kind, "secondary_emails", value) if field == "email" else []
        return [*call.tx.find(self.name, kind, field, value), *second]

    def _found(self, call: Call, kind: str, rows: list[Row]) -> Answer:
        """One page of them, of at most a hundred."""
        found = [self._view(row, body) for row in rows if (body := call.tx.searchable(row, call.lag)) is not None]
        size = min(self._number(call, "per_page", _LARGEST_PAGE), _LARGEST_PAGE)
        page = self._number(call, "page", 1)
        first = (page - 1) * size
        following = {"page": page + 1, "per_page": size}
        where = f"{self.origin}{self.prefix}{call.path}.json?{urlencode({**call.query, **following})}"
        return Answer(
            HTTPStatus.OK,
            {
                kind: found[first : first + size],
                "count": len(found),
                "next_page": where if first + size < len(found) else None,
                "previous_page": None,
            },
        )

    def _number(self, call: Call, name: str, usual: int) -> int:
        given = call.query.get(name, str(usual))
        if not given.isdecimal() or int(given) < 1:
            raise self.refuse(400, f"{name} is invalid")
        return int(given)

    # -- organizations -------------------------------------------------------------------------------------------

    @route("POST", "/organizations")
    def create_organization(self, call: Call) -> Answer:
        given = self._given(call, "organizations")
        return self._save(call, "organizations", given, None, ("name", "external_id"))

    @route("POST", "/organizations/create_or_update")
    def upsert_organization(self, call: Call) -> Answer:
        given = self._given(call, "organizations")
        wanted, external_id = call.body["organization"].get("id"), given.get("external_id")
        # By id or external id, never by name: a name that another organization has is refused.
        row = call.tx.get(self.name, "organizations", str(wanted)) if wanted else None
        if row is None and external_id:
            row = next(iter(call.tx.find(self.name, "organizations", "external_id", external_id)), None)
        return self._save(call, "organizations", given, row, ("name", "external_id"))

    @route("GET", "/organizations/search")
    def search_organizations(self, call: Call) -> Answer:
        if len({"external_id", "name"} & set(call.query)) != 1:
            raise self.refuse(400, "Search by either external_id or name")
        field = "external_id" if "external_id" in call.query else "name"
        value = call.query[field]
        rows = call.tx.candidates(self.name, "organizations", field, value)
        rows = [row for row in rows if matches(call.tx.searchable(row, call.lag) or {}, field, value)]
        return self._found(call, "organizations", rows)

    @route("GET", "/organizations/{id}/related")
    def related_to_organization(self, call: Call, row_id: str) -> Answer:
        row = self._row(call, "organizations", row_id)
        held = {
            kind: sum(str(each.body.get("organization_id") or "") == row.id for each in call.tx.rows(self.name, kind))
            for kind in ("users", "tickets")
        }
        counts = {"users_count": held["users"], "tickets_count": held["tickets"]}
        return Answer(HTTPStatus.OK, {"organization_related": counts})

    @route("GET", "/organizations/{id}")
    def organization(self, call: Call, row_id: str) -> Answer:
        return self._one(200, self._row(call, "organizations", row_id))

    @route("PUT", "/organizations/{id}")
    def change_organization(self, call: Call, row_id: str) -> Answer:
        row, given = self._row(call, "organizations", row_id), self._given(call, "organizations")
        return self._save(call, "organizations", given, row, ("name", "external_id"))

    @route("DELETE", "/organizations/{id}")
    def delete_organization(self, call: Call, row_id: str) -> Answer:
        call.tx.archive(self._row(call, "organizations", row_id))
        for user in call.tx.find(self.name, "users", "organization_id", row_id):
            call.tx.update(user, {**user.body, "organization_id": None}, lag=call.lag)
        return Answer(204)

    @route("POST", "/organizations/{id}/merge")
    def merge_organization(self, call: Call, row_id: str) -> Answer:
        """The loser's users and tickets go to the winner, and the loser is deleted."""
        loser = self._row(call, "organizations", row_id)
        winner = self._row(call, "organizations", str(call.body["organization_merge"]["winner_id"]))
        for kind in ("users", "tickets"):
            for held in call.tx.find(self.name, kind, "organization_id", row_id):
                call.tx.update(held, {**held.body, "organization_id": int(winner.id)}, lag=call.lag)
        names = [*winner.body.get("domain_names", []), *loser.body.get("domain_names", [])]
        call.tx.update(winner, {**winner.body, "domain_names": names}, lag=call.lag)
        call.tx.archive(loser)
        body = {"loser_id": int(loser.id), "winner_id": int(winner.id), "status": "complete"}
        made = self.add(call.tx, "organization_merges", body)
        return Answer(200, {"organization_merge": {"id": made.id, **body}})

    @route("GET", "/organizations/{id}/merges")
    def merges(self, call: Call, row_id: str) -> Answer:
        rows = call.tx.rows(self.name, "organization_merges")
        of_it = [row for row in rows if int(row_id) in (row.body["loser_id"], row.body["winner_id"])]
        return Answer(200, {"organization_merges": [{"id": row.id, **row.body} for row in of_it]})

    @route("GET", "/organization_fields")
    def organization_fields(self, call: Call) -> Answer:
        return self._found(call, "organization_fields", call.tx.rows(self.name, "organization_fields"))

    @route("POST", "/organization_fields")
    def add_organization_field(self, call: Call) -> Answer:
        given = self._given(call, "organization_fields")
        known = [each.body for each in call.tx.rows(self.name, "organization_fields")]
        field, error, words = custom_fields.problem(given, known)
        if error:
            return self._invalid(field, error, words)
        return self._one(201, self.add(call.tx, "organization_fields", given, lag=call.lag))

    # -- users ---------------------------------------------------------------------------------------------------

    @route("GET", "/users/me")
    def me(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"user": dict(ME)})

    @route("POST", "/users/create_or_update")
    def upsert_user(self, call: Call) -> Answer:
        return self._upsert_user(call, self._given(call, "users"))

    def _upsert_user(self, call: Call, given: Json) -> Answer:
        row = None
        for field in ("external_id", "email"):
            if row is None and given.get(field):
                row = next(iter(self._holders(call, "users", field, given[field])), None)
        body = given if row else {"role": "end-user", "organization_id": None, **given}
        return self._save(call, "users", body, row, ("email", "external_id"))

    @route("POST", "/users/create_or_update_many")
    def upsert_users(self, call: Call) -> Answer:
        """Carried out at once; what is told of it and found follows when the job has had its time."""
        if not call.settings["bulk_imports"]:
            return self.refusal(HTTPStatus.FORBIDDEN, "")
        given = call.body.get("users")
        if not isinstance(given, list) or not given or len(given) > jobs.MOST_USERS:
            raise self.refuse(400, f"users must be an array of 1 to {jobs.MOST_USERS}")
        if jobs.queued(call) >= jobs.MOST_QUEUED:
            body = {
                "error": "TooManyJobs",
                "description": "Too many jobs are currently queued or running. Try again later.",
            }
            return Answer(HTTPStatus.TOO_MANY_REQUESTS, body)
        late = replace(call, settings={**call.settings, "search_lag": max(call.lag, jobs.seconds(call))})
        made = [self._upsert_user(late, self._writable("users", each)) for each in given]
        results = [jobs.result(place, answer) for place, answer in enumerate(made)]
        job = self.add(call.tx, "job_statuses", {"results": results}, row_id=uuid4().hex)
        return Answer(200, {"job_status": jobs.view(call, job)})

    @route("GET", "/job_statuses/{id}")
    def job_status(self, call: Call, job_id: str) -> Answer:
        job = self._row(call, "job_statuses", job_id)
        if call.tx.now - job.created_at > jobs.KEPT_SECONDS:
            raise self.refuse(404, "")
        return Answer(200, {"job_status": jobs.view(call, job)})

    @route("GET", "/users/show_many")
    def show_users(self, call: Call) -> Answer:
        """Those that there are, in no order that is promised."""
        asked = [(name, call.query[name].split(",")) for name in ("ids", "external_ids") if name in call.query]
        if len(asked) != 1 or len(asked[0][1]) > jobs.MOST_USERS:
            raise self.refuse(400, f"ids or external_ids: at most {jobs.MOST_USERS}")
        ((name, values),) = asked
        if name == "ids":
            rows = [row for value in values if (row := call.tx.get(self.name, "users", value))]
        else:
            rows = [row for value in values for row in call.tx.find(self.name, "users", "external_id", value)]
        return self._found(call, "users", rows)

    @route("GET", "/users/search")
    def search_users(self, call: Call) -> Answer:
        if "external_id" in call.query:
            field, wanted = "external_id", call.query["external_id"]
        else:
            field, wanted = "", call.query.get("query", "").removeprefix("type:user ").strip().strip('"')
            if wanted.startswith(("email:", "external_id:", "name:")):
                field, _, wanted = wanted.partition(":")
        if not term(wanted):
            raise self.refuse(400, "query is missing")

        def is_meant(body: Json) -> bool:
            if field == "email" and matches(body, "secondary_emails", wanted.strip('"')):
                return True
            if field:
                return matches(body, field, wanted.strip('"'))
            return any(term(wanted) in term(body.get(name) or "") for name in ("email", "name"))

        rows = call.tx.rows(self.name, "users")
        return self._found(call, "users", [row for row in rows if is_meant(call.tx.searchable(row, call.lag) or {})])

    @route("GET", "/users/{id}")
    def user(self, call: Call, row_id: str) -> Answer:
        if deleted := call.tx.archived(self.name, "users", row_id):
            return Answer(200, {"user": {**self._view(deleted), "active": False}})
        return self._one(200, self._row(call, "users", row_id))

    @route("PUT", "/users/{id}")
    def change_user(self, call: Call, row_id: str) -> Answer:
        row, given = self._row(call, "users", row_id), self._given(call, "users")
        return self._save(call, "users", given, row, ("email", "external_id"))

    @route("DELETE", "/users/{id}")
    def delete_user(self, call: Call, row_id: str) -> Answer:
        row = self._row(call, "users", row_id)
        asked = call.tx.find(self.name, "tickets", "requester_id", row_id)
        if any(each.body.get("status") != "closed" for each in asked):
            return self._invalid("user", "InvalidValue", "is the requester of a ticket that is not closed")
        call.tx.archive(row)
        return Answer(200, {"user": {**self._view(row), "active": False}})

    @route("GET", "/users/{id}/identities")
    def identities(self, call: Call, row_id: str) -> Answer:
        listed = users.identities(self._row(call, "users", row_id))
        return Answer(200, {"identities": listed, "count": len(listed), "next_page": None, "previous_page": None})

    @route("PUT", "/users/{id}/identities/{identity}/make_primary")
    def make_primary(self, call: Call, row_id: str, identity: str) -> Answer:
        row = self._row(call, "users", row_id)
        chosen = next((each["value"] for each in users.identities(row) if str(each["id"]) == identity), None)
        if chosen is None:
            raise self.refuse(404, "")
        others = [each["value"] for each in users.identities(row) if each["value"] != chosen]
        row = call.tx.update(row, {**row.body, "email": chosen, "secondary_emails": others}, lag=call.lag)
        return Answer(200, {"identities": users.identities(row)})

    # -- tickets -------------------------------------------------------------------------------------------------

    @route("POST", "/tickets")
    def create_ticket(self, call: Call) -> Answer:
        key = call.headers.get("Idempotency-Key")
        if not key:
            return self._new_ticket(call)
        fingerprint = hashlib.sha256(json.dumps(call.body, sort_keys=True).encode()).hexdigest()
        held = call.tx.db.execute(
            "SELECT fingerprint, status, body FROM replies WHERE vendor = ? AND key = ? AND at > ?",
            (self.name, key, call.tx.now - _REPLAY_SECONDS),
        ).fetchone()
        if held is not None and held["fingerprint"] != fingerprint:
            description = "The request parameters do not match those first sent with this idempotency key"
            raise_with = {"error": "IdempotentRequestError", "description": description}
            return Answer(HTTPStatus.BAD_REQUEST, raise_with)
        if held is not None:
            return Answer(held["status"], json.loads(held["body"]), {"X-Idempotency-Lookup": "hit"})
        answer = self._new_ticket(call)
        if answer.status == HTTPStatus.CREATED:
            call.tx.db.execute(
                "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)",
                (self.name, key, call.tx.now, fingerprint, answer.status, json.dumps(answer.body)),
            )
        answer.headers["X-Idempotency-Lookup"] = "miss"
        return answer

    def _new_ticket(self, call: Call) -> Answer:
        given = self._given(call, "tickets")
        if not text_of(given.get("comment")):
            return self._invalid("comment", "BlankValue", "cannot be blank")
        requester, problem = tickets.requester_of(call, given, partial(self._holders, call, "users", "email"))
        if problem:
            return self._invalid("requester", "InvalidValue", problem)
        if requester is None and isinstance(given.get("requester"), dict):
            new = {"role": "end-user", "organization_id": None, **given["requester"]}
            if (made := self._save(call, "users", new, None, ("email",))).status != HTTPStatus.CREATED:
                return made
            requester = call.tx.get(self.name, "users", str(made.body["user"]["id"]))
        if problem := tickets.organization_problem(given, requester):
            return self._invalid("organization", "InvalidValue", problem)
        return self._save(call, "tickets", tickets.opened(given, requester), None, ())

    @route("GET", "/tickets")
    def tickets(self, call: Call) -> Answer:
        rows = call.tx.rows(self.name, "tickets")
        if "external_id" in call.query:
            rows = call.tx.find(self.name, "tickets", "external_id", call.query["external_id"])
        return self._found(call, "tickets", rows)

    @route("GET", "/tickets/{id}")
    def ticket(self, call: Call, row_id: str) -> Answer:
        return self._one(200, self._row(call, "tickets", row_id))

    @route("PUT", "/tickets/{id}")
    def change_ticket(self, call: Call, row_id: str) -> Answer:
        row = self._row(call, "tickets", row_id)
        if row.body.get("status") == "closed":
            return self._invalid("status", "InvalidValue", "closed prevents ticket update")
        return self._save(call, "tickets", self._given(call, "tickets"), row, ())

    @route("DELETE", "/tickets/{id}")
    def delete_ticket(self, call: Call, row_id: str) -> Answer:
        call.tx.archive(self._row(call, "tickets", row_id))
        return Answer(204)
