"""Zendesk (support): the customer's organization with its entitlement, its users, and the first ticket.

Sources: developer.zendesk.com/api-reference/ticketing: organizations/organizations (create or update matches id or
external_id, never the name; external ids ignore case; names are unique, though two POSTs in a race can both get one),
users/users (create or update matches email or external id; an email is unique; ``email`` on a user that exists adds a
second one), introduction/errors, introduction/rate-limits, introduction/security-and-auth (email/token).

An entitlement is the organization's tags, which its users' tickets get too, and custom fields of the organization
(organizations/organizations: ``tags`` is the whole list; ``organization_fields`` by key. What the reference does not say, a key
that the account does not have, is looked for in the answer).

introduction/requests wants ``Content-Type: application/json`` on DELETEs too, which have no body.

There is no lookup by domain. A namesake counts as this customer's only if it lists the customer's domain. A user of
another organization, or one who is an agent, is left for a person to decide on: create or update would move or demote them.

Of two merged organizations the loser is deleted (organizations/organizations, "Merge Organization"); its merges say which one
has won ("List Organization Merges"). Whether they are still listed for the loser is not documented: where not, it is gone.

A user is deleted softly (users/users, "Delete User"; support.zendesk.com/hc/en-us/articles/4408821737498): still readable,
with ``active`` false, for 30 days, then gone for good, and "not recoverable" from the first moment. Zendesk refuses while
the user is the requester of a ticket that is not closed.
"""

import base64
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from integrations.connectors.base import (
    Created,
    Found,
    HttpConnector,
    JobAccepted,
    MatchKey,
    moment,
)
from integrations.connectors.objects import SupportOrganization, SupportTicket, SupportUser, SupportUsers, VendorObject
from integrations.domains import same_address, same_domain
from integrations.errors import FieldProblem, Kind, ProviderError, TemporaryRefusal
from integrations.http.client import VendorHttp, segment
from integrations.models import Connection
from integrations.vendors.zendesk import bulk, declared, tickets
from integrations.vendors.zendesk.schemas import (
    Identities,
    Merges,
    OneOrganization,
    OneTicket,
    OneUser,
    Organization,
    Organizations,
    Related,
    Ticket,
    Tickets,
    User,
    Users,
)

_OUR_FIELDS = {
    "name": "name",
    "domain_names": "domains",
    "email": "email",
    "subject": "subject",
    "requester": "requester",
}
"""Zendesk's name of a field -> ours."""
_END_USER = "end-user"
_UNIQUE = ("name", "external_id", "email")
_JSON = {"Content-Type": "application/json"}


class Zendesk(HttpConnector):
    provider = "zendesk"
    systems = frozenset({"support"})
    hosts = ("*.zendesk.com",)
    default_base_url = ""
    kinds = declared.KINDS
    options = declared.OPTIONS
    probes = "the token, and whose it is"
    # A collision of two writes in its database (github.com/zendesk/zendesk_api_client_php/issues/314). Other passing refusals
    # say Retry-After: 429, and 503 for a timeout or a deadlock there (introduction/requests).
    temporary = (TemporaryRefusal(409, wait=1.0, code="DatabaseConflict"),)

    def __init__(self, connection: Connection, http: VendorHttp) -> None:
        super().__init__(connection, http)
        self._ahead = bulk.Ahead()

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:
        """An OAuth token, or with the option ``email`` an API token of that user."""
        if email := connection.options.get("email"):
            pair = base64.b64encode(f"{email}/token:{token}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return HttpConnector.auth_headers(connection, token)

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        wanted = _plain(key.value)
        if not wanted:
            return []
        match kind, key.name:
            case "organization", "reference":
                listed = self._search({"external_id": key.value})
                return [self._found(each) for each in listed if _plain(each.external_id or "") == wanted]
            case "organization", "name":
                listed = self._search({"name": key.value})
                namesakes = [each for each in listed if _plain(each.name) == wanted]
                return [self._namesake(each, key.extra) for each in namesakes]
            case "user", "email":
                users = self._search_users({"query": f'email:"{key.value.strip()}"'})
                return [self._found_user(each, key.within) for each in users if self._has_email(each, key.value)]
            case "user", "reference":
                return [self._found_user(each, key.within) for each in self._users_of_ours(key.value)]
            case "ticket", "reference":
                listed_tickets = self._tickets({"external_id": key.value})
                return [self._found_ticket(each) for each in listed_tickets if each.external_id == key.value]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        if not external_id.strip().isdecimal():
            return None  # Zendesk's ids are numbers
        if kind == "ticket":
            ticket = self.read(f"/api/v2/tickets/{segment(external_id)}", OneTicket)
            return self._found_ticket(ticket.ticket) if ticket else None
        if kind == "user":
            user = self._ahead.by_id.get(external_id) or self._user(external_id)
            return self._found_user(user, str(user.organization_id or "")) if user else None
        path = f"/api/v2/organizations/{segment(external_id)}"
        found = self.read(path, OneOrganization) or self._survivor(path, external_id)
        return self._found(found.organization) if found else None

    def look_ahead(self, kind: str, external_ids: Collection[str], keys: Collection[MatchKey]) -> None:
        if kind == "user":
            references = [key.value for key in keys if key.name == "reference"]
            self._ahead = bulk.read_many(self.http, external_ids, references)

    def _user(self, external_id: str) -> User | None:
        read = self.read(f"/api/v2/users/{segment(external_id)}", OneUser)
        return None if read is None or read.user.active is False else read.user

    def _users_of_ours(self, reference: str) -> list[User]:
        if reference in self._ahead.by_reference:
            known = self._ahead.by_reference[reference]
            return [known] if known else []
        listed = self._search_users({"external_id": reference})
        return [each for each in listed if _plain(each.external_id or "") == _plain(reference)]

    def _survivor(self, path: str, external_id: str) -> OneOrganization | None:
        """The organization that the one at ``path`` was merged into, where we may know: merges are shown to admins alone."""
        try:
            listed = self.read(f"{path}/merges", Merges)
        except ProviderError as error:
            if error.kind is not Kind.FORBIDDEN:
                raise
            return None
        won = [each.winner_id for each in listed.organization_merges if each.is_of(external_id)] if listed else []
        return self.read(f"/api/v2/organizations/{won[-1]}", OneOrganization) if won else None

    def archived(self, kind: str, external_id: str) -> Found | None:
        """A user who is deleted can still be read; an organization that is gone is one that never was."""
        user = self.read(f"/api/v2/users/{segment(external_id)}", OneUser) if kind == "user" else None
        if user is None or user.user.active is not False:
            return None
        return replace(self._found_user(user.user, str(user.user.organization_id or "")), inactive="deleted")

    def _has_email(self, user: User, wanted: str) -> bool:
        """Also among a user's other addresses: by each of them create or update would change that user."""
        wanted = same_address(wanted)
        if same_address(user.email or "") == wanted:
            return True
        path = f"/api/v2/users/{user.id}/identities"
        listed = self.http.request("GET", path, expect=Identities).data.identities
        return any(each.type == "email" and same_address(each.value) == wanted for each in listed)

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created | JobAccepted:
        match wanted:
            case SupportUsers():
                return bulk.send(self.http, wanted, _id(wanted.organization_id), _END_USER)
            case SupportUser():
                return self._create_user(wanted, reference)
            case SupportOrganization():
                return self._create_organization(wanted, reference)
            case SupportTicket():
                return self._create_ticket(wanted, reference)
        raise TypeError(f"zendesk has no {wanted.kind}")

    def _create_organization(self, wanted: SupportOrganization, reference: str) -> Created:
        given = {"external_id": reference} | _organization_fields(wanted)
        if self.flag("shared_tickets"):
            given["shared_tickets"] = True
        path = "/api/v2/organizations/create_or_update"
        try:
            made = self.http.request("POST", path, json={"organization": given}, expect=OneOrganization)
        except ProviderError as error:
            # A person has said that the organization which has the name is somebody else: a name is held only once.
            is_taken = error.kind is Kind.CONFLICT and "name" in {each.name for each in error.fields}
            if not (is_taken and wanted.name_if_taken):
                raise
            given["name"] = wanted.name_if_taken
            made = self.http.request("POST", path, json={"organization": given}, expect=OneOrganization)
        return Created(str(made.data.organization.id), self._url(made.data.organization.id))

    def _create_user(self, wanted: SupportUser, reference: str) -> Created:
        given = {
            "name": wanted.name,
            "email": wanted.email,
            "organization_id": _id(wanted.organization_id),
            "external_id": reference,
            "role": _END_USER,
            "skip_verify_email": True,
        }
        made = self._write_user("POST", "/api/v2/users/create_or_update", given)
        if made.id is None:
            raise ProviderError(Kind.MALFORMED, "Zendesk made a user without an id", effect_possible=True)
        if made.suspended:
            message = f"Zendesk has suspended the user “{made.name}” ({made.id}): restore them there and retry, or leave them out"
            raise ProviderError(Kind.INVALID, message, fields=[FieldProblem("suspended", message)])
        return Created(str(made.id), self._user_url(made.id))

    def _create_ticket(self, wanted: SupportTicket, reference: str) -> Created:
        body = tickets.new_ticket(wanted, _id(wanted.organization_id), reference)
        made, is_old = self._post_ticket(body, tickets.idempotency_key(body))
        if is_old and self.get("ticket", str(made.id)) is None:
            # Zendesk answers with what it answered then, also where that was deleted since: another one, under a key of its own.
            made, _ = self._post_ticket(body, tickets.idempotency_key(body, after=str(made.id)))
        return Created(str(made.id), self._ticket_url(made.id))

    def _post_ticket(self, body: dict[str, Any], key: str) -> tuple[Ticket, bool]:
        headers = {tickets.IDEMPOTENCY_HEADER: key}
        made = self.http.request("POST", "/api/v2/tickets", json=body, headers=headers, expect=OneTicket)
        return made.data.ticket, made.headers.get(tickets.LOOKUP_HEADER) == "hit"

    def poll(self, kind: str, job_id: str) -> Created | None:  # noqa: ARG002
        """Whether it has ended; what it made, ``poll_many`` tells."""
        return Created("") if bulk.status(self.http, f"/api/v2/job_statuses/{segment(job_id)}") else None

    def poll_many(self, kind: str, job_id: str, wanted: VendorObject) -> Created | None:
        if not isinstance(wanted, SupportUsers):
            return super().poll_many(kind, job_id, wanted)
        job = bulk.status(self.http, f"/api/v2/job_statuses/{segment(job_id)}")
        return bulk.outcome(job, wanted, self._user_url("{}")) if job else None

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """A user's name; a ticket's subject; an organization's name, entitlement and whole list of domains.

        With ``former_domains`` only those are taken off an organization's list, and ``domains`` are put on it; tags likewise.
        A ticket that is closed stays as it is.
        Never a user's email (Zendesk would add a second one) or organization (see ``associate``).
        """
        if isinstance(wanted, SupportUser):
            if wanted.name:
                self._write_user("PUT", f"/api/v2/users/{segment(external_id)}", {"name": wanted.name})
        elif isinstance(wanted, SupportOrganization):
            self._update_organization(f"/api/v2/organizations/{segment(external_id)}", wanted)
        elif isinstance(wanted, SupportTicket):
            path = f"/api/v2/tickets/{segment(external_id)}"
            if wanted.subject and self.http.request("GET", path, expect=OneTicket).data.ticket.status != tickets.CLOSED:
                self.http.request("PUT", path, json={"ticket": {"subject": wanted.subject}}, expect=OneTicket)
        else:
            super().update(external_id, wanted)

    def _update_organization(self, path: str, wanted: SupportOrganization) -> None:
        """Raises ``ProviderError(INVALID)`` for a custom field that the account does not have: Zendesk passes it over."""
        given, fields = _organization_fields(wanted), self._entitlement_fields(wanted)
        if wanted.former_domains is not None or wanted.tags is not None:
            now = self.http.request("GET", path, expect=OneOrganization).data.organization
            if wanted.former_domains is not None:
                given["domain_names"] = _with_domains(now.domain_names, wanted)
            if wanted.tags is not None:
                given["tags"] = _with_tags(now.tags, wanted)
        if fields:
            given["organization_fields"] = fields
        if not given:
            return
        made = self.http.request("PUT", path, json={"organization": given}, expect=OneOrganization).data.organization
        if lacking := sorted(fields.keys() - made.organization_fields.keys()):
            message = (
                f"Zendesk has no organization field with the key “{lacking[0]}”: add it there (Admin Center, People, Organization "
                "fields), or name another one in the connection's options"
            )
            raise ProviderError(Kind.INVALID, message, fields=[FieldProblem(lacking[0], message)])

    def _entitlement_fields(self, wanted: SupportOrganization) -> dict[str, str]:
        named = {self.option("sla_tier_field"): wanted.sla_tier, self.option("support_plan_field"): wanted.support_plan}
        return {name: value for name, value in named.items() if value}

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:
        """Puts a user who has no organization into one. Raises ``ProviderError(INVALID)`` for a user of another one."""
        if (kind, to_kind) != ("user", "organization"):
            super().associate(kind, external_id, to_kind, to_id)
        path = f"/api/v2/users/{segment(external_id)}"
        now = self._ahead.by_id.get(external_id) or self.http.request("GET", path, expect=OneUser).data.user
        if now.organization_id is None:
            self._write_user("PUT", path, {"organization_id": _id(to_id)})
        elif str(now.organization_id) != to_id.strip():
            message = (
                f"The Zendesk user {external_id} belongs to organization {now.organization_id}, not {to_id}: "
                "move them in Zendesk if that is right, or leave them out"
            )
            raise ProviderError(Kind.INVALID, message, fields=[FieldProblem("organization_id", message)])

    def undo(self, kind: str, external_id: str) -> None:
        """Deletes it: a user softly, and for good as far as we go; an organization's users stay, without one.

        What Zendesk answers to a second DELETE of a user is not documented: where it refuses, the user decides.
        """
        if kind == "organization":
            self.delete(kind, external_id, f"/api/v2/organizations/{segment(external_id)}", ok=(204,), headers=_JSON)
        elif kind == "user":
            try:
                path = f"/api/v2/users/{segment(external_id)}"
                self.delete(kind, external_id, path, ok=(200,), expect=OneUser, headers=_JSON)
            except ProviderError as error:
                if error.kind is not Kind.INVALID or self.get(kind, external_id) is not None:
                    raise
        elif kind == "ticket":
            self.delete(kind, external_id, f"/api/v2/tickets/{segment(external_id)}", ok=(204,), headers=_JSON)
        else:
            super().undo(kind, external_id)

    def _write_user(self, method: str, path: str, given: dict[str, Any]) -> User:
        return self.http.request(method, path, json={"user": given}, expect=OneUser).data.user

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        # Without valid credentials this may be a 200 about an anonymous user.
        user = self.http.request("GET", "/api/v2/users/me", expect=OneUser).data.user
        if user.id is None:
            raise ProviderError(Kind.AUTH, "Zendesk takes us for an anonymous visitor: check the token", 401)
        return f"Zendesk user {user.name} ({user.role})"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        if not isinstance(body, dict):
            return None
        if body.get("error") == "TooManyJobs":
            message = "Zendesk has too many jobs of ours queued"
            return ProviderError(Kind.RATE_LIMIT, message, status, stop_and_queue=True)
        return _invalid(body, status) if status == 422 else None  # noqa: PLR2004

    def _search(self, params: dict[str, str]) -> list[Organization]:
        return self.http.request(
            "GET", "/api/v2/organizations/search", params=params, expect=Organizations
        ).data.organizations

    def _search_users(self, params: dict[str, str]) -> list[User]:
        users = self.http.request("GET", "/api/v2/users/search", params=params, expect=Users).data.users
        return [each for each in users if each.active is not False]

    def _tickets(self, params: dict[str, str]) -> list[Ticket]:
        return self.http.request("GET", "/api/v2/tickets", params=params, expect=Tickets).data.tickets

    def _found_ticket(self, ticket: Ticket) -> Found:
        evidence = {"status": ticket.status, "created": ticket.created_at}
        shown = {name: value for name, value in evidence.items() if value}
        url, changed_at = self._ticket_url(ticket.id), moment(ticket.updated_at)
        return Found(str(ticket.id), ticket.subject, url, shown, changed_at=changed_at)

    def _ticket_url(self, ticket_id: int) -> str:
        return f"{self.connection.base_url.rstrip('/')}/agent/tickets/{ticket_id}"

    def _found_user(self, user: User, organization_id: str) -> Found:
        """``organization_id``: the organization where this user is looked for."""
        state = "suspended" if user.suspended else ""
        conclusive = str(user.organization_id or organization_id) == organization_id and user.role in ("", _END_USER)
        evidence = {
            "email": user.email,
            "organization": str(user.organization_id or ""),
            "role": user.role,
            "created": user.created_at,
            "state": state,
        }
        shown = {name: value for name, value in evidence.items() if value}
        return Found(
            str(user.id),
            user.name,
            self._user_url(user.id),
            shown,
            conclusive,
            changed_at=moment(user.updated_at),
            inactive=state,
        )

    def _user_url(self, user_id: int | str | None) -> str:
        return f"{self.connection.base_url.rstrip('/')}/agent/users/{user_id}"

    def _found(self, made: Organization, *, conclusive: bool = True) -> Found:
        evidence = {
            "domains": ", ".join(made.domain_names) or "none",
            "external id": made.external_id or "none",
            "created": made.created_at,
        }
        shown = {name: value for name, value in evidence.items() if value}
        changed_at = moment(made.updated_at)
        return Found(str(made.id), made.name, self._url(made.id), shown, conclusive, changed_at=changed_at)

    def _namesake(self, made: Organization, domain: str) -> Found:
        """One that a person is to decide on comes with the number of its users and tickets: an empty one is easier to judge."""
        if _lists(made, domain):
            return self._found(made)
        found = self._found(made, conclusive=False)
        try:
            path = f"/api/v2/organizations/{made.id}/related"
            related = self.http.request("GET", path, expect=Related).data.organization_related
        except ProviderError:
            return found  # it is asked about just the same
        counts = {"users": related.users_count, "tickets": related.tickets_count}
        return replace(found, evidence=found.evidence | {name: str(count) for name, count in counts.items()})

    def _url(self, organization_id: int) -> str:
        return f"{self.connection.base_url.rstrip('/')}/agent/organizations/{organization_id}"


def _invalid(body: dict[str, Any], status: int) -> ProviderError:
    details = body.get("details")
    details = details if isinstance(details, dict) else {}
    fields: list[FieldProblem] = []
    taken = False
    for name, problems in details.items():
        for each in problems if isinstance(problems, list) else []:
            reason = str(each.get("description", "")) if isinstance(each, dict) else str(each)
            held = isinstance(each, dict) and each.get("error") == "DuplicateValue" and name in _UNIQUE
            # A value that another one holds is not wrong: nobody should give the customer another name for it.
            fields.append(FieldProblem(str(name), reason, "" if held else _OUR_FIELDS.get(str(name), "")))
            taken = taken or held
    message = "; ".join(each.reason for each in fields) or str(
        body.get("description") or body.get("error") or "no reason given"
    )
    if taken:
        advice = "Another one has it: link that one by its id if it is the right one, or have it renamed there"
        return ProviderError(Kind.CONFLICT, f"Zendesk did not accept this: {message}. {advice}", status, fields=fields)
    return ProviderError(Kind.INVALID, f"Zendesk did not accept this: {message}", status, fields=fields)


def _organization_fields(wanted: SupportOrganization) -> dict[str, Any]:
    fields = {"name": wanted.name, "domain_names": wanted.domains}
    return {name: value for name, value in fields.items() if value}


def _with_domains(listed: list[str], wanted: SupportOrganization) -> list[str]:
    former, new = {same_domain(each) for each in wanted.former_domains or ()}, wanted.domains or []
    return list(dict.fromkeys([*(each for each in listed if same_domain(each) not in former), *new]))


def _with_tags(listed: list[str], wanted: SupportOrganization) -> list[str]:
    """Zendesk keeps tags in lower case."""
    former, new = {each.lower() for each in wanted.former_tags or ()}, [each.lower() for each in wanted.tags or ()]
    return list(dict.fromkeys([*(each for each in listed if each.lower() not in former), *new]))


def _id(external_id: str | int) -> str | int:
    """Zendesk's ids are numbers."""
    text = str(external_id).strip()
    return int(text) if text.isascii() and text.isdecimal() else text


def _lists(organization: Organization, domain: str) -> bool:
    return bool(domain) and same_domain(domain) in {same_domain(each) for each in organization.domain_names}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
