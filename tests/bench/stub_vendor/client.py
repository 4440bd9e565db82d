"""The vendor of all that are measured, from the side of whoever measures."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.processes.installation import wait_for

TIMEOUT_SECONDS = 10.0


class Stub:
    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def wait(self) -> None:
        wait_for("the vendor answers", self._answers)

    def counts(self) -> dict[str, Any]:
        return self._call("GET", "/counts")

    def finished(self) -> dict[str, float]:
        """When the last call of each onboarding was answered (``time.time``), by the contact's address."""
        return self._call("GET", "/finished")

    @contextmanager
    def behaving(self, **how: Any) -> Iterator[None]:
        """See ``vendor.Behaviour``."""
        self._call("POST", "/behaviour", how)
        try:
            yield
        finally:
            self._call("POST", "/behaviour", {})

    def behave(self, **how: Any) -> None:
        self._call("POST", "/behaviour", how)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return bool(self.counts())
        except OSError:
            return False
