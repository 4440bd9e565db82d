"""Our reference in a text at a vendor that has no field for it: how it is written there, and recognised again.

It stands at the text's end, for people to see and leave alone. What they write around it does no harm.
"""

import html
import re

_START = "Reference: ["
_OPEN, _CLOSE = "--- kept by Firstvalue ---", "--- end ---"
_TAG = re.compile(r"<[^<>]*>")


def mark(reference: str) -> str:
    return f"{_START}{_plain(reference)}]"


def has_mark(text: str, reference: str) -> bool:
    return bool(reference.strip()) and mark(reference) in _plain(text)


def mark_of(text: str) -> str:
    """The mark at the end of a text, so that a new text may keep it; empty where there is none."""
    start = text.rfind(_START)
    end = text.rfind("]")
    return _plain(text[start : end + 1]) if 0 <= start < end else ""


def with_part(text: str, part: str) -> str:
    """``text`` with our own part in it: in place of the one that stands there, else after what others wrote."""
    framed = f"{_OPEN}\n{part.strip()}\n{_CLOSE}"
    before, opened, rest = text.partition(_OPEN)
    _, closed, after = rest.partition(_CLOSE)
    if opened and closed:
        return f"{before}{framed}{after}"
    return f"{text.rstrip()}\n\n{framed}" if text.strip() else framed


def text_of(markup: str) -> str:
    """HTML as plain text, as far as recognising a mark needs it."""
    return _plain(html.unescape(_TAG.sub("", markup)))


def _plain(text: str) -> str:
    return " ".join(text.split())
