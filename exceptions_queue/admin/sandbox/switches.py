"""The sandbox page's switches: what each does to a vendor, in plain words, and what will be seen then."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from integrations.sandbox.control import SandboxControl

Json = dict[str, Any]

WRITES = r"^(?!.*/(search|read)$)"
"""Paths of POSTs that write: some vendors POST their searches too."""
HOLD_SECONDS = 3.0
TRANSIENT_SECONDS = 2.0
FAULTS = {
    "rate_limit": "asks us to slow down (429)",
    "unauthorized": "refuses our token (401)",
    "forbidden": "does not allow it (403)",
    "error_before": "answers 500 before doing anything",
    "error_after": "answers 500 after doing the work",
    "timeout_before": "hangs, and does nothing",
    "timeout_after": "does the work, then hangs",
    "reset_before": "cuts the connection before doing anything",
    "reset_after": "does the work, then cuts the connection",
    "malformed": "answers HTML",
    "wrong_shape": "answers JSON of another shape",
    "slow_drip": "answers byte by byte",
    "nulls": "answers null for every field that may be",
    "absent": "leaves out every field that may be",
    "unknown_values": "answers values and fields that are new",
    "other_ids": "answers numbers for text ids, and text for numbers",
}
"""A fault's kind as what the vendor does."""


@dataclass(frozen=True)
class Switch:
    """``needs``: the vendor's setting without which the switch is not offered; ``done`` is told once it was pulled."""

    name: str
    icon: str
    label: str
    see: str
    done: str
    pull: Callable[[SandboxControl, str], object]
    needs: str = ""
    fixes: bool = False

    def fits(self, settings: Mapping[str, Any]) -> bool:
        return not self.needs or self.needs in settings


def _fault(kind: str, **rule: Any) -> Callable[[SandboxControl, str], object]:
    return lambda sandbox, vendor: sandbox.add_fault(vendor, kind, **rule)


def _write_fault(kind: str, **rule: Any) -> Callable[[SandboxControl, str], object]:
    return _fault(kind, method="POST", path=WRITES, **rule)


def does(kind: str, status: int | None) -> str:
    """What a fault of that kind does, with the status that it answers where that is another one than usual."""
    told = FAULTS.get(kind, kind.replace("_", " "))
    return told.replace("500", str(status)) if status else told


def _refuse_for_now(sandbox: SandboxControl, vendor: str) -> None:
    """Each of the refusals that pass by themselves, as its documentation has them, once."""
    for status in sandbox.settings()[vendor]["transient_refusals"]:
        sandbox.add_fault(vendor, "error_before", status=status, retry_after=TRANSIENT_SECONDS, count=1)


def _rotate(sandbox: SandboxControl, vendor: str) -> None:
    sandbox.set_tokens(vendor, [f"{vendor}-{secrets.token_hex(3)}"])


def _restore(sandbox: SandboxControl, vendor: str) -> None:
    """Every token that it ever took is good again: which of them we have stored is not for this page to read."""
    settings = sandbox.settings()[vendor]
    sandbox.set_tokens(vendor, list(dict.fromkeys([*settings["tokens"], *settings.get("former_tokens", [])])))


def reset_everything(sandbox: SandboxControl) -> None:
    """No rules, every token good, searches as the vendors have them of themselves."""
    sandbox.clear_faults()
    for vendor, settings in sandbox.settings().items():
        if settings.get("former_tokens"):
            _restore(sandbox, vendor)
        if "search_lag" in settings:
            sandbox.configure(vendor, search_lag=None)


SWITCHES = (
    Switch(
        "refuse-token", "key_off", "Refuse our token (401) until you enter the new one",
        "The next call stops the whole connection: one ticket, whose runs are parked. Enter the new token on the "
        "connection's page and watch them go on.",
        "takes only a new token now. Let a customer pay, find the ticket, and enter the new token.",
        _rotate, needs="tokens",
    ),
    Switch(
        "error-after", "report", "Answer 500 after doing the work, once",
        "The next object is created, but the answer is an error. Firstvalue looks it up before it retries, "
        "so there is one object and not two.",
        "does the next write and then answers 500.",
        _write_fault("error_after", count=1),
    ),
    Switch(
        "error-before", "error", "Answer 500 before doing anything, five times",
        "A run retries automatically with backoff. After the fifth failure it gets a ticket, "
        "and retrying continues.",
        "fails the next five calls.",
        _fault("error_before", count=5),
    ),
    Switch(
        "slow-down", "speed", "Ask us to slow down (429) for the next 8 calls, with Retry-After 2 s",
        "Runs wait as long as the vendor asks, and fewer calls run concurrently. A run that was refused five times "
        "gets a rate-limit ticket and resumes automatically.",
        "refuses the next 8 calls and asks for 2 seconds each time.",
        _fault("rate_limit", count=8, retry_after=2),
    ),
    Switch(
        "refuse-for-now", "schedule", f"Refuse for now, once in each documented way, with Retry-After {TRANSIENT_SECONDS:g} s",
        "The transient refusals: a locked record, a conflict or a timeout in its database, a move of the account. "
        "No ticket is opened: the step is tried again, and not before the time that the vendor asks for.",
        "refuses its next calls for transient reasons.",
        _refuse_for_now, needs="transient_refusals",
    ),
    Switch(
        "nonsense", "translate", "Answer HTML once",
        "A web page comes instead of JSON. A ticket opens at once, as the vendor's API may have changed; the "
        "next valid answer resolves it.",
        "answers its next call with a web page.",
        _fault("malformed", count=1),
    ),
    Switch(
        "hang", "hourglass_top", f"Do the work, then hang for {HOLD_SECONDS:g} s and hang up, once",
        "The next object is created, but no answer comes. The outcome is indeterminate, so it is looked up "
        "before anything is created.",
        f"does the next write, says nothing for {HOLD_SECONDS:g} seconds and hangs up.",
        _write_fault("timeout_after", count=1, delay=HOLD_SECONDS),
    ),
    Switch(
        "reset", "link_off", "Cut the connection after doing the work, once",
        "As above, but at once: the connection is reset in the middle of the answer.",
        "does the next write and cuts the connection.",
        _write_fault("reset_after", count=1),
    ),
    Switch(
        "search-lag", "manage_search", "Let search lag 10 s behind",
        "New objects show in searches 10 s late. Together with a lost answer: Firstvalue waits for the search lag "
        "before it creates the object again.",
        "shows new objects in searches 10 seconds late.",
        lambda sandbox, vendor: sandbox.configure(vendor, search_lag=10), needs="search_lag",
    ),
    Switch(
        "restore-token", "key", "Restore the token",
        "Every token that it ever took is good again. A stopped connection resumes after “Test connection” on its page.",
        "takes every token again that it ever took. If its connection was stopped, test it on its page.",
        _restore, needs="tokens", fixes=True,
    ),
    Switch(
        "search-as-usual", "search", "Search as usual",
        "Searches lag as the vendor's own do.",
        "searches as usual again.",
        lambda sandbox, vendor: sandbox.configure(vendor, search_lag=None), needs="search_lag", fixes=True,
    ),
)  # fmt: skip
BY_NAME = {switch.name: switch for switch in SWITCHES}
