"""Zendesk (support): the customer's organization and its users.

Sources: developer.zendesk.com/api-reference/ticketing: organizations/organizations (create or update matches id or
external_id, never the name; external ids ignore case; names are unique, though two POSTs in a race can both get one),
users/users (create or update matches email or external id; an email is unique; ``email`` on a user that exists adds a
second one), introduction/errors, introduction/rate-limits, introduction/security-and-auth (email/token).

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
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import Capability, Created, CreateSafety, Found, HttpConnector, MatchKey, moment
from integrations.connectors.objects import SupportOrganization, SupportUser, VendorObject
from integrations.connectors.options import Option, OptionType
from integrations.domains import same_address, same_domain
from integrations.errors import FieldProblem, Kind, ProviderError, TemporaryRefusal
from integrations.http.client import segment
from integrations.models import Connection

_OUR_FIELDS = {"name": "name", "domain_names": "domains", "email": "email"}
"""Zendesk's name of a field -> ours."""
_END_USER = "end-user"
_UNIQUE = ("name", "external_id", "email")
_JSON = {"Content-Type": "application/json"}


class _Organization(VendorAnswer):
    id: int
    name: str
    external_id: str | None = None
    domain_names: list[str] = []
    created_at: str = ""
    updated_at: str | None = None


class _OneOrganization(VendorAnswer):
    organization: _Organization


class _Organizations(VendorAnswer):
    organizations: list[_Organization]


class _Merge(VendorAnswer):
    loser_id: int
    winner_id: int
    status: str = ""

    def is_of(self, loser: str) -> bool:
        return str(self.loser_id) == loser.strip() and self.status == "complete"


class _Merges(VendorAnswer):
    organization_merges: list[_Merge]


class _Counts(VendorAnswer):
    users_count: int
    tickets_count: int


class _Related(VendorAnswer):
    organization_related: _Counts


class _User(VendorAnswer):
    id: int | None
    """None only for the anonymous visitor that ``users/me`` may speak of."""
    name: str = ""
    role: str = ""
    email: str | None = None
    external_id: str | None = None
    organization_id: int | None = None
    active: bool | None = True
    """False once the user is deleted, or merged into another one."""
    suspended: bool | None = False
    created_at: str = ""
    updated_at: str | None = None


class _OneUser(VendorAnswer):
    user: _User


class _Users(VendorAnswer):
    users: list[_User]


class _Identity(VendorAnswer):
    type: str
    value: str = ""


class _Identities(VendorAnswer):
    identities: list[_Identity]


class Zendesk(HttpConnector):
    provider = "zendesk"
    systems = frozenset({"support"})
    hosts = ("*.zendesk.com",)
    default_base_url = ""
    kinds = (
        Capability(
            kind=SupportOrganization.KIND,
            safety=CreateSafety.UNIQUE_UPSERT,
            search_lag_option="search_lag",
            rollback="deleted; its users stay, without an organization",
        ),
        Capability(
            kind=SupportUser.KIND,
            safety=CreateSafety.UNIQUE_UPSERT,
            search_lag_option="search_lag",
            rollback="deleted, for good as far as we go; refused while they are the requester of a ticket that is not closed",
            associations=(SupportOrganization.KIND,),
        ),
    )
    options = (
        Option(
            name="email",
            label="Agent's email address",
            help="With an API token: the address of the agent whose token it is. Empty: the token is an OAuth token.",
        ),
        Option(
            name="shared_tickets",
            label="Shared tickets",
            help="On: the users of a new organization see each other's tickets.",
            type=OptionType.FLAG,
            default="off",
        ),
        Option(
            name="search_lag",
            label="Search lag",
            help="How long a search may miss what was just written.",
            type=OptionType.SECONDS,
            default="0",
        ),
    )
    probes = "the token, and whose it is"
    # A collision of two writes in its database (github.com/zendesk/zendesk_api_client_php/issues/314). Other passing refusals
    # say Retry-After: 429, and 503 for a timeout or a deadlock there (introduction/requests).
    temporary = (TemporaryRefusal(409, wait=1.0, code="DatabaseConflict"),)

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
                users = self._search_users(f'email:"{key.value.strip()}"')
                return [self._found_user(each, key.within) for each in users if self._has_email(each, key.value)]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        if not external_id.strip().isdecimal():
            return None  # Zendesk's ids are numbers
        if kind == "user":
            user = self.read(f"/api/v2/users/{segment(external_id)}", _OneUser)
            if user is None or user.user.active is False:
                return None
            return self._found_user(user.user, str(user.user.organization_id or ""))
        path = f"/api/v2/organizations/{segment(external_id)}"
        found = self.read(path, _OneOrganization) or self._survivor(path, external_id)
        return self._found(found.organization) if found else None

    def _survivor(self, path: str, external_id: str) -> _OneOrganization | None:
        """The organization that the one at ``path`` was merged into, where we may know: merges are shown to admins alone."""
        try:
            listed = self.read(f"{path}/merges", _Merges)
        except ProviderError as error:
            if error.kind is not Kind.FORBIDDEN:
                raise
            return None
        won = [each.winner_id for each in listed.organization_merges if each.is_of(external_id)] if listed else []
        return self.read(f"/api/v2/organizations/{won[-1]}", _OneOrganization) if won else None

    def archived(self, kind: str, external_id: str) -> Found | None:
        """A user who is deleted can still be read; an organization that is gone is one that never was."""
        user = self.read(f"/api/v2/users/{segment(external_id)}", _OneUser) if kind == "user" else None
        if user is None or user.user.active is not False:
            return None
        return replace(self._found_user(user.user, str(user.user.organization_id or "")), inactive="deleted")

    def _has_email(self, user: _User, wanted: str) -> bool:
        """Also among a user's other addresses: by each of them create or update would change that user."""
        wanted = same_address(wanted)
        if same_address(user.email or "") == wanted:
            return True
        path = f"/api/v2/users/{user.id}/identities"
        listed = self.http.request("GET", path, expect=_Identities).data.identities
        return any(each.type == "email" and same_address(each.value) == wanted for each in listed)

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        match wanted:
            case SupportUser():
                return self._create_user(wanted, reference)
            case SupportOrganization():
                return self._create_organization(wanted, reference)
        raise TypeError(f"zendesk has no {wanted.kind}")

    def _create_organization(self, wanted: SupportOrganization, reference: str) -> Created:
        given = {"external_id": reference} | _organization_fields(wanted)
        if self.flag("shared_tickets"):
            given["shared_tickets"] = True
        path = "/api/v2/organizations/create_or_update"
        try:
            made = self.http.request("POST", path, json={"organization": given}, expect=_OneOrganization)
        except ProviderError as error:
            # A person has said that the organization which has the name is somebody else: a name is held only once.
            is_taken = error.kind is Kind.CONFLICT and "name" in {each.name for each in error.fields}
            if not (is_taken and wanted.name_if_taken):
                raise
            given["name"] = wanted.name_if_taken
            made = self.http.request("POST", path, json={"organization": given}, expect=_OneOrganization)
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

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """A user's name; an organization's name and its whole list of domains.

        With ``former_domains`` only those are taken off an organization's list, and ``domains`` are put on it.
        Never a user's email (Zendesk would add a second one) or organization (see ``associate``).
        """
        if isinstance(wanted, SupportUser):
            if wanted.name:
                self._write_user("PUT", f"/api/v2/users/{segment(external_id)}", {"name": wanted.name})
        elif isinstance(wanted, SupportOrganization):
            path = f"/api/v2/organizations/{segment(external_id)}"
            given = _organization_fields(wanted)
            if wanted.former_domains is not None:
                now = self.http.request("GET", path, expect=_OneOrganization).data.organization
                given["domain_names"] = _with_domains(now.domain_names, wanted)
            if given:
                self.http.request("PUT", path, json={"organization": given}, expect=_OneOrganization)
        else:
            super().update(external_id, wanted)

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:
        """Puts a user who has no organization into one. Raises ``ProviderError(INVALID)`` for a user of another one."""
        if (kind, to_kind) != ("user", "organization"):
            super().associate(kind, external_id, to_kind, to_id)
        path = f"/api/v2/users/{segment(external_id)}"
        now = self.http.request("GET", path, expect=_OneUser).data.user
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
                self.delete(kind, external_id, path, ok=(200,), expect=_OneUser, headers=_JSON)
            except ProviderError as error:
                if error.kind is not Kind.INVALID or self.get(kind, external_id) is not None:
                    raise
        else:
            super().undo(kind, external_id)

    def _write_user(self, method: str, path: str, given: dict[str, Any]) -> _User:
        return self.http.request(method, path, json={"user": given}, expect=_OneUser).data.user

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        # Without valid credentials this may be a 200 about an anonymous user.
        user = self.http.request("GET", "/api/v2/users/me", expect=_OneUser).data.user
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

    def _search(self, params: dict[str, str]) -> list[_Organization]:
        return self.http.request(
            "GET", "/api/v2/organizations/search", params=params, expect=_Organizations
        ).data.organizations

    def _search_users(self, query: str) -> list[_User]:
        users = self.http.request("GET", "/api/v2/users/search", params={"query": query}, expect=_Users).data.users
        return [each for each in users if each.active is not False]

    def _found_user(self, user: _User, organization_id: str) -> Found:
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

    def _user_url(self, user_id: int | None) -> str:
        return f"{self.connection.base_url.rstrip('/')}/agent/users/{user_id}"

    def _found(self, made: _Organization, *, conclusive: bool = True) -> Found:
        evidence = {
            "domains": ", ".join(made.domain_names) or "none",
            "external id": made.external_id or "none",
            "created": made.created_at,
        }
        shown = {name: value for name, value in evidence.items() if value}
        changed_at = moment(made.updated_at)
        return Found(str(made.id), made.name, self._url(made.id), shown, conclusive, changed_at=changed_at)

    def _namesake(self, made: _Organization, domain: str) -> Found:
        """One that a person is to decide on comes with the number of its users and tickets: an empty one is easier to judge."""
        if _lists(made, domain):
            return self._found(made)
        found = self._found(made, conclusive=False)
        try:
            path = f"/api/v2/organizations/{made.id}/related"
            related = self.http.request("GET", path, expect=_Related).data.organization_related
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


def _id(external_id: str | int) -> str | int:
    """Zendesk's ids are numbers."""
    text = str(external_id).strip()
    return int(text) if text.isascii() and text.isdecimal() else text


def _lists(organization: _Organization, domain: str) -> bool:
    return bool(domain) and same_domain(domain) in {same_domain(each) for each in organization.domain_names}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
