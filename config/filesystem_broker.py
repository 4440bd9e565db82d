"""kombu's filesystem transport, safe between processes: the broker of the embedded default.

kombu opens a message file under its final name and then writes it, so a consumer may read it empty, and the JSON
error ends the worker. Exchange tables have the same race at first start, when web and worker bind together. Here a file
is written aside, under a name that no reader looks for, and ``os.replace``d into its own: readers see all of it or
nothing.

Settings name the class, which needs no registration in any process (kombu refuses import paths in a broker *URL*)::

    broker_url = "filesystem://localhost//"
    broker_transport = "config.filesystem_broker:Transport"
    broker_transport_options = transport_options(DATA_DIR)

A message that is being handed over when a worker is killed is lost. That is harmless: the row remains and the sweep finds it.
"""

import fcntl
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.transport.virtual.base import BrokerState
from kombu.utils.json import dumps, loads

POLLING_SECONDS = 0.1


def transport_options(data_dir: Path) -> dict[str, Any]:
    """``broker_transport_options`` with all folders inside ``data_dir``, which are made here."""
    folder = data_dir / "broker"
    (folder / "queue").mkdir(parents=True, exist_ok=True)
    (folder / "control").mkdir(exist_ok=True)
    return {
        "data_folder_in": str(folder / "queue"),
        "data_folder_out": str(folder / "queue"),
        "control_folder": str(folder / "control"),
        "polling_interval": POLLING_SECONDS,
    }


def write_atomically(path: Path, content: str) -> None:
    """Gives ``path`` this content in one step. Raises OSError, leaving nothing behind."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        aside.write_text(content, encoding="utf-8")
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


class Channel(filesystem.Channel):
    """A channel whose files appear whole."""

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        # Zero-padded wall-clock time: the names sort by age, also across a reboot (kombu's monotonic clock does not).
        path = Path(self.data_folder_out, f"{time.time_ns():020d}_{uuid.uuid4().hex}.{queue}.msg")
        try:
            write_atomically(path, dumps(payload))
        except OSError as error:
            raise ChannelError(f"Cannot add {path} to the queue: {error}") from error

    def _get(self, queue: str) -> dict[str, Any]:  # type: ignore[override]
        """The oldest message of ``queue``. Raises queue.Empty.

        Taking is a rename inside the folder: of two workers one succeeds. A file that is no JSON (disk full, edited by
        hand) is dropped instead of killing the worker.
        """
        folder = Path(self.data_folder_in)
        for name in sorted(path.name for path in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f"{name}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:
                continue
            with suppress(OSError, ValueError):
                content = taken.read_bytes()
                taken.unlink()
                message: dict[str, Any] = loads(content)
                return message
        raise Empty

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:  # type: ignore[override]
        try:
            rows = json.loads(self._exchange_file(exchange).read_bytes())  # type: ignore[attr-defined]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise ChannelError(f"Cannot read the table of exchange {exchange!r}: {error}") from error
        return [filesystem.exchange_queue_t(*row) for row in rows]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._changing(exchange) as rows:
            if row not in rows:
                rows.insert(0, row)

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *_: Any, **__: Any) -> None:
        self._purge(queue)
        row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._changing(exchange) as rows:
            if row in rows:
                rows.remove(row)

    @contextmanager
    def _changing(self, exchange: str) -> Iterator[list[filesystem.exchange_queue_t]]:
        """The exchange's rows for changing, one process at a time (the lock lies beside the file that is replaced)."""
        path: Path = self._exchange_file(exchange)  # type: ignore[attr-defined]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                rows = self.get_table(exchange)
                before = list(rows)
                yield rows
                if rows != before:
                    write_atomically(path, json.dumps(rows))
        except OSError as error:
            raise ChannelError(f"Cannot change the table of exchange {exchange!r}: {error}") from error


class Transport(filesystem.Transport):
    Channel = Channel
    global_state = BrokerState()
    polling_interval = POLLING_SECONDS
