"""Jira's enhanced search: a little JQL over an index that lags, and pages by token.

developer.atlassian.com/cloud/jira/platform/search-and-reconcile,
developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search,
support.atlassian.com/jira-software-cloud/docs/jql-fields.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

from integrations.sandbox.dialect import Call
from integrations.sandbox.store import Json, Row, term

LARGEST_PAGE = 50
"""Of issues with fields; Jira documents that it may answer with fewer than were asked for."""
MOST_RECONCILED = 50
MOST_PROPERTIES = 5
_ORDER = re.compile(r"\s*\border\s+by\s+.*\Z", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_CLAUSE = re.compile(r"(?P<field>\w+)\s*(?:=\s*(?P<one>\"[^\"]*\"|\S+)|in\s*\((?P<many>[^)]*)\))", re.IGNORECASE)
_FIELDS = frozenset({"project", "labels", "parent", "key", "issuekey", "id", "issuetype"})
Clause = tuple[str, list[str]]


def clauses(jql: str) -> list[Clause]:
    """Its restrictions, which all hold. Raises ``ValueError`` with Jira's words."""
    restrictions = _ORDER.sub("", jql).strip()
    if not restrictions:
        raise ValueError("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
    found: list[Clause] = []
    for part in _AND.split(restrictions):
        matched = _CLAUSE.fullmatch(part.strip())
        if matched is None:
            raise ValueError(f"Error in the JQL Query: '{part}' could not be parsed.")
        field = matched["field"].lower()
        if field not in _FIELDS:
            raise ValueError(f"Field '{field}' does not exist or you do not have permission to view it.")
        values = [matched["one"]] if matched["one"] else matched["many"].split(",")
        found.append((field, [each.strip().strip('"') for each in values]))
    return found


def matches(issue_id: str, body: Json, restrictions: list[Clause], named: dict[str, set[str]]) -> bool:
    """``named``: the other words for an id (a project's key, a parent's), by id."""
    return all(_holds(issue_id, body, field, values, named) for field, values in restrictions)


def _holds(issue_id: str, body: Json, field: str, values: list[str], named: dict[str, set[str]]) -> bool:
    wanted = {term(each) for each in values}
    match field:
        case "labels":
            has = {term(each) for each in body.get("labels") or []}
        case "key" | "issuekey" | "id":
            has = {issue_id, term(body["key"])}
        case "issuetype":
            has = {term(body["type"])}
        case _:
            of = str(body.get(field) or "")
            has = {of, *named.get(of, set())} - {""}
    return bool(has & wanted)


def indexed(call: Call, rows: list[Row], reconcile: list[str]) -> Iterator[tuple[Row, Json]]:
    """What the index shows; an issue that the caller names is shown as it is."""
    for row in rows:
        body = row.body if row.id in reconcile else call.tx.searchable(row, call.lag)
        if body is not None:
            yield row, body


def token(jql: str, after: int) -> str:
    return base64.urlsafe_b64encode(f"{_of(jql)}:{after}".encode()).decode()


def after(jql: str, given: str) -> int:
    """How many were shown before. Raises ``ValueError`` for a token of another query."""
    query, _, shown = base64.urlsafe_b64decode(given.encode()).decode().partition(":")
    if query != _of(jql) or not shown.isdecimal():
        raise ValueError("The provided next page token is invalid.")
    return int(shown)


def _of(jql: str) -> str:
    return hashlib.sha256(jql.encode()).hexdigest()[:12]
