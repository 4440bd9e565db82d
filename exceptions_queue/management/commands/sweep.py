"""``manage.py sweep``: one pass of everything the scheduler would do, done here, with no broker at all."""

from typing import Any

from django.core.management.base import BaseCommand

from exceptions_queue import scheduling


class Command(BaseCommand):
    help = "One pass of everything that is due: events, steps, clocks and alerts."

    def handle(self, *_args: Any, **_options: Any) -> None:
        done = scheduling.one_pass(publish=False)
        self.stdout.write(f"{done.events} events, {done.steps} steps, {done.clocks} clocks, {done.alerts} alerts")
