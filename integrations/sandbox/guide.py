"""What the sandbox says when it starts: where each vendor is, with which token and ids, and what to try."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integrations.sandbox.dialect import Dialect
    from integrations.sandbox.store import Tx


def guide(tx: Tx, dialects: Mapping[str, Dialect], web: str, catcher: str) -> str:
    """``web`` and ``catcher``: the addresses of the vendors and of the mail catcher."""
    rows, commands = [], []
    broken = next((vendor for vendor, dialect in reversed(tuple(dialects.items())) if dialect.system), "widgets")
    for vendor, dialect in dialects.items():
        if not dialect.system:
            continue
        token = next(iter(dialect.settings(tx)["tokens"]), "")
        rows.append(
            f"  {vendor:<10}{web + dialect.base_path:<42} {f'token {token}' if dialect.has_tokens else 'public'}"
        )
        words = [
            f"  manage.py connection set {vendor} --system {dialect.system} --provider {vendor} --environment sandbox",
            f"--base-url {web}{dialect.base_path}",
            *([f"--secret token={token}"] if dialect.has_tokens else []),
            *(f"--secret {shlex.quote(f'{name}={value}')}" for name, value in dialect.secrets.items()),
            *(f"--option {shlex.quote(f'{name}={value}')}" for name, value in dialect.options.items()),
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
            f"""  curl -X POST {web}/_sandbox/faults -d '{{"vendor": "{broken}", "kind": "rate_limit", "count": 4}}'   break one""",
            f"  curl -X DELETE {web}/_sandbox/faults         fix it",
            f"  curl -X POST {web}/_sandbox/reset            begin anew",
        ]
    )
