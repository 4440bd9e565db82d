"""The demo on a machine that is busy, or where something fails: time scales, events come again, a failure is one plain line."""

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from config import demo, demo_stage
from config.demo_stage import Stage, Undelivered


class FrontDoor(HTTPServer):
    """Gives the listed answers one after the other, the last one for ever; ``signatures`` are those it was shown."""

    def __init__(self, *answers: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.signatures = list(answers), list[str]()


class Handler(BaseHTTPRequestHandler):
    server: FrontDoor

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.signatures.append(self.headers["Stripe-Signature"])
        self.send_response(self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0])
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def front_door(settings: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[FrontDoor]:
    monkeypatch.setattr(demo_stage, "DELIVER_AGAIN_SECONDS", 0.0)
    with FrontDoor(*request.param) as server:
        settings.PUBLIC_URL = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def deliver(stage: Stage) -> None:
    stage._post("/webhooks/stripe/", lambda: stage._signed(b"{}"))


@pytest.mark.parametrize("front_door", [(503, 500, 429, 200)], indirect=True)
def test_an_event_is_delivered_again_until_it_is_taken(front_door: FrontDoor) -> None:
    deliver(Stage())

    assert len(front_door.signatures) == 4


@pytest.mark.parametrize(("front_door", "tries"), [((400,), 1), ((503,), 1)], indirect=["front_door"])
def test_undelivered_event_is_named(front_door: FrontDoor, tries: int) -> None:
    stage = Stage()
    stage.ends = 0.0

    with pytest.raises(Undelivered, match=str(front_door.answers[0])):
        deliver(stage)
    assert len(front_door.signatures) == tries


def test_what_fails_is_named_in_one_plain_line(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*, once: bool) -> int:
        raise Undelivered("/webhooks/stripe/ did not take what it was sent: 503")

    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(demo, "prepare_environment", lambda: None)
    monkeypatch.setattr(demo, "play", fail)
    monkeypatch.setattr("config.run.busy_ports", lambda **_: [])
    try:
        assert demo.main(["--once"]) == 1
    finally:
        logging.disable(logging.NOTSET)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("The demo could not go on: /webhooks/stripe/ did not take what it was sent: 503 (more in ")
    assert "Traceback" in (tmp_path / "logs" / "demo.log").read_text()


@pytest.mark.parametrize(
    ("elapsed", "cpu", "times"),
    [(1.0, 1.0, 1.0), (0.9, 1.0, 1.0), (24.0, 2.0, 12.0), (999.0, 1.0, 60.0), (1.0, 0.0, 60.0)],
)
def test_a_busy_machine_is_given_more_time(elapsed: float, cpu: float, times: float) -> None:
    assert demo.slowdown(elapsed, cpu) == times
