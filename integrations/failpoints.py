"""Named places where a test may end the process, as a crash would. Unless the environment asks for it, they do nothing.

``FIRSTVALUE_FAILPOINT=NAME:K`` ends the process at the K-th hit of NAME, with no clean-up at all.
``FIRSTVALUE_FAILPOINT_COUNT=PATH`` appends a line ``NAME ABOUT`` for each hit, so that a runner learns how many there are.
"""

import os
from threading import Lock

KILLED = 137
"""The exit code, as after SIGKILL."""

NAMES = {
    "accepting": "a payload is taken in, and not committed",
    "event-processed": "an inbound event is processed, and not committed",
    "marked-due": "the sweep has marked work as enqueued, and published nothing",
    "before-intent": "a step is claimed and its intent written, and not committed",
    "after-intent": "the intent is committed, and nothing is sent",
    "before-send": "a write is about to leave",
    "after-send": "a write has left, and its answer is not there",
    "before-mail": "a mail's content is about to leave",
    "after-mail": "a mail's content has left, and the server's reply is not there",
    "after-answer": "the answer to a create is there",
    "before-poll": "a vendor's job is about to be asked for",
    "after-poll": "a vendor's job has answered",
    "before-tie": "the object is there, and not tied to the others",
    "before-update": "an object is about to be written into",
    "after-update": "an object was written into",
    "before-undo": "an object is about to be undone",
    "after-undo": "an object was undone",
    "before-result": "a step is through, and nothing of it recorded",
    "between-items": "one of a step's objects is there, and the next is not begun; not committed",
    "opening-exception": "a step is blocked, and its ticket not opened; not committed",
    "exception-opened": "a step is blocked and its ticket opened; not committed",
    "opening-breaker": "a connection's breaker is open, and not committed",
    "result-recorded": "a step's result is recorded, and not committed",
    "before-dispatch": "what became due is committed, and no worker was told",
    "after-result": "a step's result is committed",
    "archive-begun": "a batch of the archive has its row, and no file",
    "archive-written": "a batch's files are on the disk, and its rows in the database",
    "archive-moving": "a batch's rows are deleted, and not committed",
    "archive-moved": "a batch is archived",
    "person-acted": "what a person did is written, and not committed",
}


class _Armed:
    def __init__(self, target: str, count: str) -> None:
        self.name, _, at = target.partition(":")
        self.left = int(at or 1)
        self.file = os.open(count, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if count else None
        self.lock = Lock()
        if self.name and self.name not in NAMES:
            raise ValueError(f"there is no failpoint {self.name!r}")

    def hit(self, name: str, about: str) -> None:
        if name not in NAMES:
            raise ValueError(f"there is no failpoint {name!r}")
        with self.lock:
            if self.file is not None:
                os.write(self.file, f"{name} {about}\n".encode())
            if name == self.name:
                self.left -= 1
                if self.left == 0:
                    os._exit(KILLED)


_armed: _Armed | None = None


def arm(target: str = "", count: str = "") -> None:
    """As the two environment variables; with neither, failpoints do nothing. Raises ``ValueError`` for an unknown name."""
    global _armed  # noqa: PLW0603
    _armed = _Armed(target, count) if target or count else None


def failpoint(name: str, about: str = "") -> None:
    if _armed is not None:
        _armed.hit(name, about)


arm(os.environ.get("FIRSTVALUE_FAILPOINT", ""), os.environ.get("FIRSTVALUE_FAILPOINT_COUNT", ""))
