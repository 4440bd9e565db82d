"""Which fields Asana shows of an object, and which ones it takes (github.com/Asana/openapi, defs/asana_oas.yaml).

Single objects are complete records, lists are compact ones, and ``opt_fields`` replaces either by exactly the fields
that it lists; gids are always there (developers.asana.com/docs/inputoutput-options).
"""

from __future__ import annotations

from typing import Any

from integrations.sandbox.store import Json

_COMPACT = {
    "project": ("name",),
    "task": ("name", "resource_subtype"),
    "membership": ("resource_subtype", "member", "access_level"),
}
#: what even a complete record leaves out until it is asked for
_OPT_IN = {
    "project": frozenset({"created_from_template", "html_notes", "project_brief"}),
    "task": frozenset({"html_notes", "dependencies", "dependents", "num_subtasks", "assigned_by", "created_by"}),
    "membership": frozenset({"parent"}),
    "team": frozenset({"description", "html_description"}),
}

INSTANTIATE_FIELDS = frozenset(
    {"name", "team", "public", "privacy_setting", "is_strict", "requested_dates", "requested_roles"}
)
PROJECT_FIELDS = frozenset(
    {
        "archived", "color", "custom_fields", "default_access_level", "default_view", "due_date", "due_on",
        "followers", "html_notes", "icon", "name", "notes", "owner", "privacy_setting", "public", "start_on", "team",
    }
)  # fmt: skip
"""What a project's update takes."""
TASK_FIELDS = frozenset(
    {
        "approval_status", "assignee", "assignee_section", "completed", "custom_fields", "due_at", "due_on",
        "html_notes", "liked", "name", "notes", "parent", "resource_subtype", "start_at", "start_on",
    }
)  # fmt: skip
"""What a task's creation and its update take."""
TASK_ONCE_FIELDS = frozenset({"projects", "workspace", "tags", "followers"})
"""What a task's creation alone takes."""


def complete(record: Json) -> Json:
    hidden = _OPT_IN.get(str(record["resource_type"]), frozenset())
    return {name: value for name, value in record.items() if name not in hidden}


def compact(record: Json) -> Json:
    names = ("gid", "resource_type", *_COMPACT[str(record["resource_type"])])
    return {name: record[name] for name in names}


def as_asked(record: Json, paths: list[str]) -> Json:
    """The gid, and what ``paths`` list; ``team.name`` is the team's gid and name, ``team`` its gid alone."""
    shown: Json = {"gid": record["gid"]} if "gid" in record else {}
    nested: dict[str, list[str]] = {}
    for path in paths:
        head, _, rest = path.partition(".")
        if head in record:
            nested.setdefault(head, []).extend([rest] if rest else [])
    return shown | {head: _nested(record[head], rests) for head, rests in nested.items()}


def _nested(value: Any, paths: list[str]) -> Any:
    if isinstance(value, list):
        return [_nested(each, paths) for each in value]
    return as_asked(value, paths) if isinstance(value, dict) else value
