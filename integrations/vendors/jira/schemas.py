"""Jira's answers, as far as we use them."""

# ruff: noqa: N815 (names of fields are Jira's)

from typing import Any

from pydantic import Field, RootModel

from integrations.connectors.answers import VendorAnswer

PROPERTY = "firstvalue"
"""The issue property that carries our reference."""


class Me(VendorAnswer):
    accountId: str = Field(min_length=1)
    displayName: str = ""


class User(Me):
    emailAddress: str | None = None
    """Absent where the person hides it."""
    active: bool = True


class Users(RootModel[list[User]]):
    pass


class ServerInfo(VendorAnswer):
    baseUrl: str = ""


class Project(VendorAnswer):
    id: str
    key: str
    name: str = ""
    archived: bool = False


class Permission(VendorAnswer):
    havePermission: bool


class Permissions(VendorAnswer):
    permissions: dict[str, Permission]


class IssueType(VendorAnswer):
    id: str = Field(min_length=1)
    name: str = ""
    hierarchyLevel: int = 0
    """1 for an epic, 0 for what may be in one, -1 for a sub-task."""
    subtask: bool = False


class IssueTypes(VendorAnswer):
    issueTypes: list[IssueType]


class FieldMeta(VendorAnswer):
    fieldId: str
    name: str = ""
    required: bool = False
    hasDefaultValue: bool = False


class FieldsMeta(VendorAnswer):
    fields: list[FieldMeta]


class StatusCategory(VendorAnswer):
    key: str
    """``new``, ``indeterminate`` or ``done``; the names of statuses are anybody's."""


class Status(VendorAnswer):
    id: str = ""
    name: str = ""
    statusCategory: StatusCategory

    @property
    def is_done(self) -> bool:
        return self.statusCategory.key == "done"


class Transition(VendorAnswer):
    id: str = Field(min_length=1)
    name: str = ""
    to: Status


class Transitions(VendorAnswer):
    transitions: list[Transition]


class Created(VendorAnswer):
    id: str = Field(min_length=1)
    key: str = Field(min_length=1)


class _Parent(VendorAnswer):
    id: str


class Fields(VendorAnswer):
    summary: str = ""
    status: Status | None = None
    parent: _Parent | None = None
    description: dict[str, Any] | None = None
    duedate: str | None = None
    assignee: User | None = None
    created: str | None = None
    updated: str | None = None


class Issue(VendorAnswer):
    id: str = Field(min_length=1)
    key: str = ""
    fields: Fields = Fields()
    properties: dict[str, Any] = {}

    @property
    def reference(self) -> str | None:
        """As our property has it; None where the issue has no such property."""
        kept = self.properties.get(PROPERTY)
        return str(kept["reference"]) if isinstance(kept, dict) and kept.get("reference") else None

    @property
    def is_done(self) -> bool:
        return self.fields.status is not None and self.fields.status.is_done


class OneIssue(Issue):
    """An issue that was asked for by itself: it has its key and its fields."""

    key: str = Field(min_length=1)
    fields: Fields


class Issues(VendorAnswer):
    issues: list[Issue]
    nextPageToken: str | None = None
