"""What the sandbox says when it starts: where each vendor is, with which token and ids, and what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .asana import TEAM_GID, TEMPLATE_GID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dialect import Dialect
    from .store import Tx

_CONNECTIONS = {
    # vendor: (system, path of the base URL, options)
    "hubspot": ("crm", "/hubspot", ()),
    "asana": ("delivery", "/asana/api/1.0", (f"template_gid={TEMPLATE_GID}", f"team_gid={TEAM_GID}")),
    "zendesk": ("support", "/zendesk", ()),
}


def guide(tx: Tx, dialects: Mapping[str, Dialect], web: str, catcher: str) -> str:
    """``web`` and ``catcher``: the addresses of the vendors and of the mail catcher."""
    rows, commands = [], []
    for vendor, (system, path, options) in _CONNECTIONS.items():
        token = next(iter(dialects[vendor].settings(tx)["tokens"]), "")
        rows.append(f"  {vendor:<10}{web + path:<42} token {token}")
        words = [
            f"  manage.py connection set {vendor} --system {system} --provider {vendor} --environment sandbox",
            f"--base-url {web}{path} --secret token={token}",
            *(f"--option {option}" for option in options),
        ]
        commands.append(" ".join(words))
    return "\n".join(
        [
            "It stands in for these vendors, with their own paths, errors and limits:",
            *rows,
            f"  mail      {catcher:<42} run Firstvalue with EMAIL_URL={catcher}",
            "Connect Firstvalue with it:",
            *commands,
            "Try it:",
            f"  curl {web}/_sandbox/objects                  everything that the vendors hold",
            f"  curl '{web}/_sandbox/requests?last=20'       what was asked of them, and answered",
            f"""  curl -X POST {web}/_sandbox/faults -d '{{"vendor": "zendesk", "kind": "rate_limit", "count": 4}}'   break one""",
            f"  curl -X DELETE {web}/_sandbox/faults         mend it",
            f"  curl -X POST {web}/_sandbox/reset            begin anew",
        ]
    )
