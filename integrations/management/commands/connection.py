"""``manage.py connection set|list|check``: connections from the command line."""

import getpass
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import clock
from integrations.connections import services as connections
from integrations.connectors.registry import WEBHOOK_SECRET
from integrations.enums import Breaker, Environment, System
from integrations.management.plain import without_call_logs
from integrations.models import Connection


class Command(BaseCommand):
    help = "Makes, lists and checks the connections to vendors."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        change = actions.add_parser("set", help="make or update one connection")
        change.add_argument("slug")
        change.add_argument("--system", required=True, choices=System.values)
        change.add_argument("--provider", required=True)
        change.add_argument("--base-url", help="another one than before voids the stored secrets")
        change.add_argument("--environment", choices=Environment.values)
        change.add_argument(
            "--secret",
            action="append",
            default=[],
            type=_pair,
            metavar="NAME=VALUE",
            help="NAME=@FILE reads a file and NAME=- standard input, which keeps the value out of the process list",
        )
        change.add_argument(
            "--untested",
            action="store_true",
            help="keep new secrets without testing them before they replace stored ones",
        )
        change.add_argument("--option", action="append", default=[], type=_pair, metavar="KEY=VALUE")
        actions.add_parser("list", help="all connections, without their secrets")
        check = actions.add_parser("check", help="try one with a harmless call; closes its breaker if that passes")
        check.add_argument("slug")

    def handle(self, *args: Any, action: str, **options: Any) -> None:  # noqa: ARG002
        match action:
            case "set":
                self._set(options)
            case "list":
                self._list()
            case "check":
                self._check(options["slug"])

    def _set(self, options: dict[str, Any]) -> None:
        secrets: dict[str, list[str]] = {}
        if sum(value == "-" for _, value in options["secret"]) > 1:
            raise CommandError("Only one secret can come from standard input.")
        for name, value in options["secret"]:
            secrets.setdefault(name, []).append(_secret_value(name, value))
        try:
            secrets = self._tested(options, secrets)
            made = connections.set_connection(
                options["slug"],
                system=options["system"],
                provider=options["provider"],
                base_url=options["base_url"],
                environment=options["environment"],
                secrets=secrets,
                options=dict(options["option"]),
                actor="command line",
            )
        except ValueError as problem:
            raise CommandError(f"{options['slug']}: {problem}") from None
        self.stdout.write(f"{made.slug}: {made.provider} ({made.system}, {made.environment}) at {made.base_url or '-'}")

    def _tested(self, options: dict[str, Any], secrets: dict[str, list[str]]) -> dict[str, list[str]]:
        """What is left to be stored: secrets that replace stored ones are tested first, and kept only if they pass.

        Not where the address, the provider or the environment becomes another: that voids what is stored anyway.
        """
        there = Connection.objects.filter(slug=options["slug"], provider=options["provider"]).first()
        moves = there is None or any(
            options[name] not in (None, getattr(there, name)) for name in ("base_url", "environment", "system")
        )
        stored = there is not None and there.secret_rows.filter(name__in=set(secrets) - {WEBHOOK_SECRET}).exists()
        if there is None or moves or not stored or options["untested"]:
            return secrets
        with without_call_logs():
            result = connections.replace_credentials(
                there.pk, secrets, options=dict(options["option"]), actor="command line"
            )
        if not result.ok:
            raise CommandError(
                f"{there.slug}: the new credentials were not kept, the former ones stay: {result.message} "
                "(--untested keeps them without a test)"
            )
        return {}

    def _list(self) -> None:
        head = ("NAME", "SYSTEM", "PROVIDER", "ENVIRONMENT", "STATE", "SECRETS", "BASE URL")
        rows = [head, *(_row(each) for each in Connection.objects.prefetch_related("secret_rows"))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            self.stdout.write("  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip())

    def _check(self, slug: str) -> None:
        connection = Connection.objects.filter(slug=slug).first()
        if connection is None:
            raise CommandError(f"There is no connection {slug!r}.")
        with without_call_logs():
            result = connections.close_after_probe(connection.pk, "command line")
        if not result.ok:
            raise CommandError(f"{slug}: {result.message}")
        again = " Its breaker is closed again." if connection.is_stopped else ""
        self.stdout.write(f"{slug}: {result.message}.{again}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ArgumentTypeError("must look like NAME=VALUE")
    return name, value


def _secret_value(name: str, value: str) -> str:
    if value == "-":
        return getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read()
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(f"The secret {name} could not be read from its file: {problem}") from None


def _state(connection: Connection) -> str:
    if connection.breaker == Breaker.OPEN and connection.probe_at is not None:
        seconds = max(0, round((connection.probe_at - clock.now()).total_seconds()))
        return f"open breaker (server errors, next try in {seconds} s)"
    if connection.is_stopped:
        return "half-open breaker" if connection.breaker == Breaker.HALF_OPEN else "open breaker (credentials refused)"
    return "ready" if connection.concurrency_limit is None else f"ready, {connection.concurrency_limit} at once"


def _row(connection: Connection) -> tuple[str, ...]:
    state = _state(connection)
    secrets = sorted({row.name for row in connection.secret_rows.all() if row.active})
    return (
        connection.slug,
        connection.system,
        connection.provider,
        connection.environment,
        state if connection.enabled else "disabled",
        ",".join(secrets) or "-",
        connection.base_url or "-",
    )
