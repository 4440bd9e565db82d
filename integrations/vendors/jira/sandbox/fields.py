"""What an issue's fields may hold, by Jira's own rules and with its own words for what is wrong.

developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues (create and edit issue),
developer.atlassian.com/cloud/jira/platform/apis/document/structure (the Atlassian document format), and for the messages
github.com/tenable/integration-jira-cloud/issues/322, github.com/sumoheavy/jira-ruby/issues/348.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from integrations.sandbox.store import Json

LONGEST_SUMMARY = 255
LONGEST_TEXT = 32_767
LONGEST_LABEL = 255
_INLINE = frozenset({"text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status"})
_BLOCKS = {
    "doc": frozenset({"paragraph", "heading", "bulletList", "orderedList", "panel", "rule", "blockquote", "codeBlock"}),
    "paragraph": _INLINE,
    "heading": _INLINE,
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock"}),
    "panel": frozenset({"paragraph", "heading", "bulletList", "orderedList"}),
    "blockquote": frozenset({"paragraph", "bulletList", "orderedList"}),
    "codeBlock": frozenset({"text"}),
}
"""Node -> what may be in it."""


def problem(name: str, value: Any) -> str:
    """What Jira says of a value; empty where it takes it."""
    check = _CHECKS.get(name)
    return check(value) if check else ""


def _summary(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        return "You must specify a summary of the issue."
    if "\n" in value or "\r" in value:
        return "The summary is invalid because it contains newline characters."
    return f"Summary can't exceed {LONGEST_SUMMARY} characters." if len(value) > LONGEST_SUMMARY else ""


def _description(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, dict) or value.get("type") != "doc" or value.get("version") != 1:
        return "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
    if not _is_valid(value):
        return "INVALID_INPUT"
    if len(plain(value)) > LONGEST_TEXT:
        return f"The entered text is too long. It exceeds the allowed limit of {LONGEST_TEXT:,} characters."
    return ""


def _is_valid(node: Json) -> bool:
    """A node, with all that is in it."""
    kind = node.get("type")
    if kind == "text":
        text, marks = node.get("text"), node.get("marks", [])
        links = [each.get("attrs", {}).get("href") for each in marks if each.get("type") == "link"]
        return isinstance(text, str) and text != "" and all(links) and "content" not in node
    if kind in _INLINE or kind == "rule":
        return "content" not in node
    content = node.get("content", [])
    return (
        kind in _BLOCKS
        and isinstance(content, list)
        and all(isinstance(each, dict) and each.get("type") in _BLOCKS[kind] and _is_valid(each) for each in content)
    )


def plain(node: Json) -> str:
    """The text of a document, a line a block."""
    if node.get("type") == "text":
        return str(node["text"])
    if node.get("type") == "hardBreak":
        return "\n"
    joint = "\n" if node.get("type") == "doc" else ""
    return joint.join(plain(each) for each in node.get("content", []))


def _labels(value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        return "data was not an array"
    if spaced := next((each for each in value if len(each.split()) != 1), None):
        return f"The label '{spaced}' contains spaces which is invalid."
    too_long = next((each for each in value if len(each) > LONGEST_LABEL), None)
    return f"The label '{too_long}' exceeds the limit of {LONGEST_LABEL} characters." if too_long else ""


def _duedate(value: Any) -> str:
    try:
        if value is None or (isinstance(value, str) and date.fromisoformat(value).isoformat() == value):
            return ""
    except ValueError:
        pass
    return f"Error parsing date string: {value}"


_CHECKS: dict[str, Callable[[Any], str]] = {
    "summary": _summary,
    "description": _description,
    "labels": _labels,
    "duedate": _duedate,
}
