"""``manage.py scheduler``: the sweep, every few seconds, until told to stop. Running it twice is harmless."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from exceptions_queue import scheduling


class Command(BaseCommand):
    help = "Sweeps every SWEEP_SECONDS until SIGTERM or Ctrl-C."

    def handle(self, *_args: Any, **_options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        scheduling.run_forever(stop, every=settings.SWEEP_SECONDS)
