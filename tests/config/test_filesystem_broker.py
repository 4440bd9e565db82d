"""The embedded default's broker: a message is there whole or not at all, and reaches one worker."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import kombu
import pytest
from kombu.exceptions import ChannelError

from config import filesystem_broker
from config.filesystem_broker import Transport, transport_options

QUEUE = kombu.Queue("jobs", kombu.Exchange("jobs"), routing_key="jobs")


def connect(data_dir: Path) -> kombu.Connection:
    return kombu.Connection(
        "filesystem://localhost//",
        transport="config.filesystem_broker:Transport",
        transport_options=transport_options(data_dir),
    )


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[kombu.Connection]:
    Transport.global_state.clear()  # kombu remembers bindings for the life of a process
    with connect(tmp_path) as connection:
        yield connection


def publish(connection: kombu.Connection, *bodies: object) -> None:
    with connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, exchange=QUEUE.exchange, routing_key="jobs", declare=[QUEUE])


def receive_all(connection: kombu.Connection) -> list[object]:
    bodies = []
    with connection.channel() as channel:
        bound = QUEUE(channel)
        while message := bound.get(no_ack=True):
            bodies.append(message.decode())
    return bodies


def test_settings_name_the_class_and_its_polling(connection: kombu.Connection) -> None:
    assert isinstance(connection.transport, Transport)
    assert connection.transport.polling_interval == 0.1


def test_messages_arrive_in_order(connection: kombu.Connection) -> None:
    publish(connection, *range(20))

    assert receive_all(connection) == list(range(20))


def test_a_reader_never_sees_a_message_that_is_still_being_written(
    connection: kombu.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stops the writer at the worst moment, before its file has its name, and reads."""
    write, seen = Path.write_text, []

    def write_half_and_look(path: Path, content: str, **options: str) -> int:
        write(path, content[: len(content) // 2], **options)
        with connection.channel() as channel, pytest.raises(Empty):
            channel._get("jobs")
        seen.append([entry.name for entry in path.parent.glob("*.msg")])
        return write(path, content, **options)

    publish(connection)
    monkeypatch.setattr(Path, "write_text", write_half_and_look)
    with connection.channel() as channel:
        channel._put("jobs", {"body": "x" * 100})
        assert seen == [[]]
        assert channel._get("jobs") == {"body": "x" * 100}


def test_writers_and_readers_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    received: list[int] = []
    done = threading.Event()

    def write(start: int) -> None:
        with connect(tmp_path) as connection, connection.channel() as channel:
            for number in range(start, start + 100):
                channel._put("jobs", {"number": number, "padding": "x" * 20_000})

    def read() -> None:
        with connect(tmp_path) as connection, connection.channel() as channel:
            while True:
                last = done.is_set()
                try:
                    received.append(channel._get("jobs")["number"])
                except Empty:
                    if last:
                        return

    writers = [threading.Thread(target=write, args=(start,)) for start in (0, 100)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()

    assert sorted(received) == list(range(200))
    assert not list((tmp_path / "broker" / "queue").iterdir())


def test_a_file_that_is_no_message_is_dropped(connection: kombu.Connection, tmp_path: Path) -> None:
    publish(connection)
    (tmp_path / "broker" / "queue" / "0_broken.jobs.msg").touch()
    publish(connection, "good")

    assert receive_all(connection) == ["good"]


def test_a_failed_put_says_so_and_leaves_nothing(
    connection: kombu.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(filesystem_broker.Path, "replace", fail)
    with connection.channel() as channel, pytest.raises(ChannelError, match="no space left"):
        channel._put("jobs", {})

    assert not list((tmp_path / "broker" / "queue").iterdir())


def test_processes_that_bind_together_all_find_their_queue(tmp_path: Path) -> None:
    names = [f"queue{number}" for number in range(16)]

    def bind(name: str) -> None:
        with connect(tmp_path) as connection, connection.channel() as channel:
            channel._queue_bind("jobs", "jobs", "", name)
            channel.get_table("jobs")

    threads = [threading.Thread(target=bind, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    table = json.loads((tmp_path / "broker" / "control" / "jobs.exchange").read_text())
    assert sorted(row[2] for row in table) == sorted(names)
