"""SCIM 2.0 (identity): the customer's group and its users.

Sources: RFC 7643 (4.1 users, 4.2 groups: ``userName`` is unique and ignores case, ``externalId`` is the client's own and no
server keeps it unique, nor a group's ``displayName``) and RFC 7644 (3.3 create: 409 ``uniqueness``; 3.4.2.2 filters, whose
values are JSON strings; 3.4.2.4 paging from 1; 3.5.2 PATCH; 3.6 DELETE; 3.12 errors). Where servers differ:
github.com/okta/okta-developer-docs, ``reference/scim/scim-20`` (a search that finds nothing may be a 404, an error's status a
number) and learn.microsoft.com/entra/identity/app-provisioning/entra-id-scim-api-reference (``resources``, cursors, no
``totalResults``). The forms of a PATCH that servers were built for, where they take no other: the same two, and
learn.microsoft.com/entra/identity/app-provisioning/application-provisioning-config-problem-scim-compatibility (operations
capitalised, booleans as text, members removed by value).

A user is never deleted by default: ``active`` becomes false, and our reference in ``externalId`` gets a mark. One with the mark
is none for us until it is wanted again, and then it becomes active; one whom somebody else deactivated has no mark, and is for a
person to decide on.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from integrations.connectors.base import Capability, Created, CreateSafety, Found, HttpConnector, MatchKey, moment
from integrations.connectors.objects import IdentityGroup, IdentityUser, VendorObject
from integrations.connectors.options import TOKEN_SECRET, Option, OptionType
from integrations.domains import same_address
from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http.client import retry_after, segment
from integrations.models import Connection
from integrations.vendors.scim import patches
from integrations.vendors.scim.schemas import Group, Page, Resource, ServiceProviderConfig, User

R = TypeVar("R", bound=Resource)
USER, GROUP = IdentityUser.KIND, IdentityGroup.KIND
PATHS = {USER: "/Users", GROUP: "/Groups"}
MEMBERS_AT_ONCE = 100
"""In one PATCH of a group: servers bound a body's size, and say nothing of where."""
PAGE_SIZE = 100
MOST_PAGES = 50
"""Of one search for one value: more is no answer to it."""
REFERENCE_PREFIX = "firstvalue:"
MARK = ":deactivated"
"""Behind our reference, in ``externalId``: it was us who deactivated the user."""
DEACTIVATE, DELETE = "deactivate", "delete"
_CORE = "urn:ietf:params:scim:schemas:core:2.0:"
_JSON = {"Content-Type": "application/scim+json"}
_WRITTEN = (200, 202, 204)
_OUR_FIELDS = {
    "userName": "email",
    "emails": "email",
    "displayName": "name",
    "givenName": "first_name",
    "familyName": "last_name",
}
"""Attribute -> our field."""
_FILTER = "filter"


class Scim(HttpConnector):
    provider = "scim"
    systems = frozenset({"identity"})
    hosts = ("*",)
    default_base_url = ""
    kinds = (
        Capability(
            kind=GROUP,
            safety=CreateSafety.NEITHER,
            search_lag_option="search_lag",
            rollback="deleted; its members stay",
        ),
        Capability(
            kind=USER,
            safety=CreateSafety.UNIQUE_UPSERT,
            search_lag_option="search_lag",
            rollback="deactivated, and activated again when wanted again; with the option undo deleted",
            associations=(GROUP,),
        ),
    )
    options = (
        Option(
            name="undo",
            label="Rollback of users",
            help="What a rollback does with a user whom a run created: deactivate sets active to false, delete is for good.",
            type=OptionType.CHOICE,
            choices=(DEACTIVATE, DELETE),
            default=DEACTIVATE,
        ),
        Option(
            name="patch_form",
            label="Form of changes",
            help="The PATCH requests that the server takes: those of RFC 7644, or only Okta's or Microsoft Entra's.",
            type=OptionType.CHOICE,
            choices=patches.FORMS,
            default=patches.STANDARD,
        ),
        Option(
            name="search_lag",
            label="Search lag",
            help="How long a search may miss what was just written; 60 where a directory stands behind the server.",
            type=OptionType.SECONDS,
            default="0",
        ),
    )
    secrets = (TOKEN_SECRET,)
    probes = "the token, that users can be listed, and that the server takes PATCH where it says what it takes"

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:
        return HttpConnector.auth_headers(connection, token) | {"Accept": "application/scim+json, application/json"}

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        """A user by address, or either by our reference; groups of a name are shown to a person: names are not unique."""
        if not key.value.strip():
            return []
        match kind, key.name:
            case "user", "reference":
                return self._found_users(self._by_reference(Page[User], kind, "userName", key), key.extra)
            case "user", "email":
                return self._found_users(self._named(key.value), key.value)
            case "group", "reference":
                return [_found(each) for each in self._by_reference(Page[Group], kind, "displayName", key)]
            case "group", "name":
                listed = self._search(Page[Group], kind, "displayName", key.value)
                namesakes = [each for each in listed if _plain(each.displayname) == _plain(key.value)]
                return [replace(_found(each), conclusive=False) for each in namesakes]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        """A user whom we deactivated is none; one whom somebody else did is there, and inactive."""
        try:
            path = _path(kind, external_id)
        except ValueError:
            return None
        if kind == USER:
            user = self.read(path, User)
            return _found_user(user) if user and not _is_undone(user) else None
        group = self.read(f"{path}?excludedAttributes=members", Group)
        return _found(group) if group else None

    def _named(self, email: str) -> list[User]:
        listed = self._search(Page[User], USER, "userName", email.strip())
        return [each for each in listed if same_address(each.username) == same_address(email)]

    @staticmethod
    def _found_users(users: Iterable[User], email: str) -> list[Found]:
        there = [each for each in users if not _is_undone(each)]
        return [replace(_found_user(each), conclusive=not email or each.has_address(email)) for each in there]

    def _by_reference(self, expect: type[Page[R]], kind: str, other: str, key: MatchKey) -> list[R]:
        """``other``: what is searched by instead (``key.extra``) at a server that keeps ``externalId`` and cannot filter by it."""
        try:
            listed = self._search(expect, kind, "externalId", key.value)
        except ProviderError as error:
            if not _cannot_filter(error):
                raise
            listed = self._search(expect, kind, other, key.extra.strip()) if key.extra.strip() else []
        return [each for each in listed if each.externalid == key.value]

    def _search(self, expect: type[Page[R]], kind: str, attribute: str, value: str) -> list[R]:
        """All that the server answers with, page by page: it may give fewer at once than asked for.

        Raises ``ProviderError``, also for an answer that has no end: to take a part of it for all would make duplicates.
        """
        asked: dict[str, str | int] = {"filter": patches.equals(attribute, value), "count": PAGE_SIZE}
        if kind == GROUP:
            asked["excludedAttributes"] = "members"
        found: dict[str, R] = {}
        turn: dict[str, str | int] = {}
        for _ in range(MOST_PAGES):
            page = self.read(f"{PATHS[kind]}?{_query(asked | turn)}", expect)
            if page is None:  # some servers say so where nothing matches
                return list(found.values())
            known = len(found)
            found |= {each.id: each for each in page.resources}
            if page.nextcursor:
                turn = {"cursor": page.nextcursor}
            elif len(found) >= (page.totalresults or 0):
                return list(found.values())
            elif len(found) == known:
                break
            else:
                turn = {"startIndex": len(found) + 1}
        raise ProviderError(
            Kind.MALFORMED, f"The SCIM server listed {len(found)} for {attribute}, and says that there are more"
        )

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        match wanted:
            case IdentityUser():
                return self._create_user(wanted, reference)
            case IdentityGroup():
                return self._create_group(wanted, reference)
        raise TypeError(f"scim has no {wanted.kind}")

    def _create_user(self, wanted: IdentityUser, reference: str) -> Created:
        """Raises ``ProviderError(CONFLICT)``, which names the user who has the address."""
        body = {
            "schemas": [f"{_CORE}User"],
            "userName": wanted.email,
            "externalId": reference,
            "displayName": wanted.name,
            "name": _given({"givenName": wanted.first_name, "familyName": wanted.last_name}),
            "emails": [{"value": wanted.email, "type": "work", "primary": True}],
            "active": True,
        }
        try:
            made = self.http.request("POST", PATHS[USER], json=_given(body), headers=_JSON, expect=User).data
        except ProviderError as error:
            if error.kind is not Kind.CONFLICT:
                raise
            holders = self._named(wanted.email)
            if len(holders) == 1 and _is_undone(holders[0]):
                return self._activate(holders[0], wanted, reference)
            _name_holder(error, "userName", holders)
            if len(holders) == 1 and holders[0].has_address(wanted.email):
                error.existing_by = "email"
            raise
        return Created(made.id)

    def _activate(self, user: User, wanted: IdentityUser, reference: str) -> Created:
        values = {"active": True, "externalId": reference} | _names(wanted)
        self._patch(_path(USER, user.id), patches.replace(values, self.option("patch_form")))
        return Created(user.id)

    def _create_group(self, wanted: IdentityGroup, reference: str) -> Created:
        """Without members, which ``update`` adds: a group is made even where its members fail."""
        if wanted.members:
            raise ValueError("members of a group are added by an update")
        body = {"schemas": [f"{_CORE}Group"], "displayName": wanted.name, "externalId": reference}
        try:
            made = self.http.request("POST", PATHS[GROUP], json=body, headers=_JSON, expect=Group).data
        except ProviderError as error:
            if error.kind is Kind.CONFLICT:
                listed = self._search(Page[Group], GROUP, "displayName", wanted.name)
                _name_holder(
                    error, "displayName", [each for each in listed if _plain(each.label) == _plain(wanted.name)]
                )
            raise
        return Created(made.id)

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """A user's names, never the address, which is who it is; a group's name and members, so many at once."""
        form = self.option("patch_form")
        if isinstance(wanted, IdentityUser):
            path, bodies = _path(USER, external_id), []
            values = _names(wanted)
        elif isinstance(wanted, IdentityGroup):
            path = _path(GROUP, external_id)
            bodies = [patches.add_members(ids, form) for ids in _batches(wanted.members)]
            bodies += [patches.remove_members(ids, form) for ids in _batches(wanted.former_members)]
            values = _given({"displayName": wanted.name})
        else:
            super().update(external_id, wanted)
            return
        for body in [patches.replace(values, form), *bodies] if values else bodies:
            self._patch(path, body)

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:
        """Makes the user a member of the group; one who is stays so."""
        if (kind, to_kind) != (USER, GROUP):
            super().associate(kind, external_id, to_kind, to_id)
        self.update(to_id, IdentityGroup(members=[external_id]))

    def undo(self, kind: str, external_id: str) -> None:
        """Deletes a group; deactivates a user, or deletes them where the option says so."""
        if kind not in PATHS:
            super().undo(kind, external_id)
        if kind == USER and self.option("undo") == DEACTIVATE:
            self._deactivate(external_id)
        else:
            self.delete(kind, external_id, _path(kind, external_id), ok=_WRITTEN)

    def _deactivate(self, external_id: str) -> None:
        """With our mark. One whom somebody else has deactivated gets none: they may have meant it."""
        path, form = _path(USER, external_id), self.option("patch_form")
        user = self.read(path, User)
        if user is None or not user.active:
            return
        values: dict[str, Any] = {"active": False}
        if user.externalid.startswith(REFERENCE_PREFIX):
            values["externalId"] = f"{user.externalid}{MARK}"
        try:
            try:
                self._patch(path, patches.replace(values, form))
            except ProviderError as error:
                if error.kind is not Kind.INVALID or len(values) == 1:
                    raise
                # A server that lets nobody change externalId: a person then decides when the user is wanted again.
                self._patch(path, patches.replace({"active": False}, form))
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND:
                return
            error.message = f"The user {external_id} could not be deactivated: {error.message}"
            error.fields = []  # no value of ours is to be fixed
            raise

    def _patch(self, path: str, body: dict[str, Any]) -> None:
        self.http.request("PATCH", path, json=body, headers=_JSON, ok=_WRITTEN)

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        """Who may list users has the right token; what a server supports it may tell to anybody, or not at all."""
        listed = self.http.request("GET", f"{PATHS[USER]}?count=1", expect=Page[User]).data
        try:
            config = self.read("/ServiceProviderConfig", ServiceProviderConfig)
        except ProviderError as error:
            if error.http_status != 501:  # noqa: PLR2004
                raise
            config = None
        if config is not None and not config.patch.supported:
            raise ProviderError(
                Kind.NOT_CONFIGURED, "The SCIM server takes no PATCH: users cannot be changed or deactivated"
            )
        count = "users" if listed.totalresults is None else f"{listed.totalresults} users"
        return f"SCIM server {urlsplit(self.connection.base_url).hostname} with {count}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        if status != 400 or not isinstance(body, dict) or retry_after(headers) is not None:  # noqa: PLR2004
            return None
        said = {str(name).lower(): value for name, value in body.items()}
        scim_type, detail = str(said.get("scimtype") or ""), str(said.get("detail") or "")
        message = f"The SCIM server did not accept this: {detail or scim_type or 'no reason given'}"
        if scim_type == "uniqueness":
            return ProviderError(Kind.CONFLICT, message, status)
        if scim_type == "invalidFilter":
            return ProviderError(Kind.INVALID, message, status, fields=[FieldProblem(_FILTER, detail)])
        named = [name for name in _OUR_FIELDS if re.search(rf"\b{name}\b", detail, re.IGNORECASE)]
        fields = [FieldProblem(name, detail, _OUR_FIELDS[name]) for name in named]
        return ProviderError(Kind.INVALID, message, status, fields=fields)


def _path(kind: str, external_id: str) -> str:
    return f"{PATHS[kind]}/{segment(external_id)}"


def _query(asked: Mapping[str, str | int]) -> str:
    """With %20, not +, which is a plus sign to servers that do not take a query for a form."""
    return urlencode(asked, quote_via=quote, safe="")


def _batches(ids: Sequence[str] | None) -> list[Sequence[str]]:
    listed = ids or ()
    return [listed[start : start + MEMBERS_AT_ONCE] for start in range(0, len(listed), MEMBERS_AT_ONCE)]


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", {}, None)}


def _names(wanted: IdentityUser) -> dict[str, Any]:
    return _given(
        {"displayName": wanted.name, "name.givenName": wanted.first_name, "name.familyName": wanted.last_name}
    )


def _is_undone(user: User) -> bool:
    mark = user.externalid.startswith(REFERENCE_PREFIX) and user.externalid.endswith(MARK)
    return mark and not user.active


def _found(made: Resource) -> Found:
    evidence = {"external id": made.externalid, "created": made.meta.created}
    shown = {name: value for name, value in evidence.items() if value}
    return Found(made.id, made.label, "", shown, changed_at=moment(made.meta.lastmodified))


def _found_user(user: User) -> Found:
    found, state = _found(user), "" if user.active else "deactivated"
    emails = ", ".join(each.value for each in user.emails if each.value)
    evidence = {"user name": user.username, "email": emails, **found.evidence, "state": state}
    shown = {name: value for name, value in evidence.items() if value}
    return replace(found, evidence=shown, inactive=state)


def _cannot_filter(error: ProviderError) -> bool:
    """It says that it does not know the attribute in filters, or filters at all (RFC 7644, 3.4.2.2 and 3.12)."""
    return error.http_status == 501 or _FILTER in {each.name for each in error.fields}  # noqa: PLR2004


def _name_holder(error: ProviderError, attribute: str, holders: Sequence[Resource]) -> None:
    """Adds to a conflict who has the value: a value that another one holds is not wrong."""
    error.fields = [FieldProblem(attribute, error.message)]
    if len(holders) == 1:
        error.existing_id = holders[0].id
        error.message = f"{error.message}. It is that of “{holders[0].label}” ({holders[0].id})"


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
