"""Asana's webhooks: the handshake, while whoever asks for one waits, and what it refuses.

From developers.asana.com/reference/createwebhook and /docs/webhooks-guide: the target must echo ``X-Hook-Secret`` with a 200 or
a 204; that is the one time that the secret is sent. Teams and workspaces need filters, and tell nothing of tasks.
"""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from http import HTTPStatus
from urllib.parse import urlsplit

from integrations.sandbox.store import Json

FIELDS = frozenset({"resource", "target", "filters"})
_ACTIONS = frozenset({"changed", "added", "removed", "deleted", "undeleted"})
_SECONDS = 10.0
_GOOD = (HTTPStatus.OK, HTTPStatus.NO_CONTENT)


def problem_of(data: Json) -> str:
    """Why Asana refuses it before it asks anybody; empty where it does not."""
    target = str(data.get("target") or "")
    if not data.get("resource"):
        return "resource: Missing input"
    if urlsplit(target).scheme not in ("http", "https") or not urlsplit(target).netloc:
        return f"target: Not a valid URL: {target}"
    filters = data.get("filters", [])
    if not isinstance(filters, list) or any(not isinstance(each, dict) for each in filters):
        return "filters: Must be a list of filters"
    for each in filters:
        if each.get("action") not in (None, *_ACTIONS):
            return f"filters: Not a recognized action: {each.get('action')}"
        if each.get("fields") and each.get("action") != "changed":
            return "filters: fields are only allowed with the action changed"
    return ""


def shake_hands(target: str) -> str:
    """The secret, once the target has echoed it; empty where it has not."""
    secret = secrets.token_hex(32)
    request = urllib.request.Request(  # noqa: S310  (checked before: http or https)
        target, data=b"{}", method="POST", headers={"X-Hook-Secret": secret, "Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            good = answer.status in _GOOD and answer.headers.get("X-Hook-Secret") == secret
    except (urllib.error.URLError, OSError):
        return ""
    return secret if good else ""
