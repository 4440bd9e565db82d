"""Named places where a test may end the process, as a crash would. Without ``FIRSTVALUE_FAILPOINT`` they do nothing.

``FIRSTVALUE_FAILPOINT=NAME:K`` ends the process at the K-th hit of NAME, with no clean-up at all.
"""

import os
from threading import Lock

NAMES = (
    "before-intent",
    "after-intent",
    "before-send",
    "after-answer",
    "before-result",
    "after-result",
    "opening-exception",
    "before-undo",
    "after-undo",
)
_target, _, _at = os.environ.get("FIRSTVALUE_FAILPOINT", "").partition(":")
_hits = 0
_lock = Lock()


def failpoint(name: str) -> None:
    if name != _target:
        return
    global _hits  # noqa: PLW0603
    with _lock:
        _hits += 1
        if _hits == int(_at or 1):
            os._exit(137)
