"""Our texts as documents of Atlassian's format (ADF), and our own part in a document that others write in as well.

developer.atlassian.com/cloud/jira/platform/apis/document/structure: text nodes are never empty, a line break in a paragraph is a
node. Nodes that others wrote are handed back as they came, whatever they are.
"""

import re
from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]
_OPEN, _CLOSE = "--- kept by Firstvalue ---", "--- end ---"
_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]]")


def document(text: str) -> Node:
    return _doc(_paragraphs(text))


def with_part(description: Node | None, part: str) -> Node:
    """``description`` with our own part in it: in place of the one that stands there, else after what others wrote."""
    theirs = list((description or {}).get("content") or [])
    framed = _paragraphs(f"{_OPEN}\n\n{part.strip()}\n\n{_CLOSE}")
    lines = [_text_of(each).strip() for each in theirs]
    start = lines.index(_OPEN) if _OPEN in lines else len(theirs)
    end = next((at for at in range(start, len(lines)) if lines[at] == _CLOSE), -1)
    before, after = (theirs[:start], theirs[end + 1 :]) if end >= 0 else (theirs, [])
    return _doc([*before, *framed, *after])


def _doc(content: list[Node]) -> Node:
    return {"type": "doc", "version": 1, "content": content}


def _paragraphs(text: str) -> list[Node]:
    """One for each block of lines."""
    blocks = [block.strip("\n") for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n"))]
    return [{"type": "paragraph", "content": list(_lines(block))} for block in blocks if block.strip()]


def _lines(block: str) -> Iterator[Node]:
    for number, line in enumerate(block.split("\n")):
        if number:
            yield {"type": "hardBreak"}
        yield from _inline(line)


def _inline(line: str) -> Iterator[Node]:
    at = 0
    for found in _LINK.finditer(line):
        if found.start() > at:
            yield {"type": "text", "text": line[at : found.start()]}
        yield {"type": "text", "text": found[0], "marks": [{"type": "link", "attrs": {"href": found[0]}}]}
        at = found.end()
    if line[at:]:
        yield {"type": "text", "text": line[at:]}


def _text_of(node: Any) -> str:
    if not isinstance(node, dict):
        return ""
    return str(node.get("text") or "") or "".join(_text_of(each) for each in node.get("content") or [])
