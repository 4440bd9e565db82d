"""``playbook list|check|show|diff``: the workflow definitions, for whoever writes them."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.config_files import nearest
from onboarding.enums import UNFINISHED
from onboarding.models import OnboardingTransaction, PinnedPlaybook
from onboarding.playbooks import scopes
from onboarding.playbooks.comparison import Definition, described, differences, version_order
from onboarding.playbooks.playbook import Playbook, PlaybookError, load, playbooks


class Command(BaseCommand):
    help = "Lists, checks, shows and compares the playbooks."
    requires_system_checks: tuple[str, ...] = ()  # a playbook that they refuse is what this command is asked about

    def add_arguments(self, parser: CommandParser) -> None:
        parts = parser.add_subparsers(dest="what", required=True)
        parts.add_parser("list", help="Each playbook, whom it serves and how many steps it has.")
        check = parts.add_parser("check", help="What is wrong with all playbooks, or with these files alone.")
        check.add_argument("files", nargs="*", type=Path, metavar="FILE")
        show = parts.add_parser("show", help="One playbook, step by step.")
        show.add_argument("name")
        diff = parts.add_parser(
            "diff", help="What a playbook does otherwise than the last runs under it, or than another one."
        )
        diff.add_argument("name")
        diff.add_argument(
            "other", nargs="?", help="A playbook's name or file; without it, what runs were last started with."
        )

    def handle(self, *_: Any, what: str, **given: Any) -> None:
        try:
            match what:
                case "list":
                    self._list()
                case "check":
                    self._check(given["files"])
                case "show":
                    self._say(*described(self._named(given["name"])))
                case "diff":
                    self._diff(given["name"], given["other"])
        except PlaybookError as error:
            raise CommandError("\n".join(error.each)) from None

    def _list(self) -> None:
        for playbook in playbooks().values():
            self._say(f"{playbook.name} {playbook.version}: {scopes.scope(playbook)}; {len(playbook.steps)} steps")

    def _check(self, files: list[Path]) -> None:
        wrong: list[str] = []
        for path in files:
            try:
                load(path)
            except PlaybookError as error:
                wrong += error.each
        if wrong:
            raise PlaybookError(wrong)
        found = [path.name for path in files] or list(playbooks())
        self._say(f"{', '.join(found)}: nothing is wrong.")

    def _diff(self, name: str, other: str | None) -> None:
        after = self._named(name)
        before, label = (self._named(other).definition, other) if other else self._last_pinned(name)
        found = list(differences(before, after.definition))
        self._say(*(found or [f"{name} does the same as {label}."]))
        earlier = OnboardingTransaction.objects.filter(status__in=UNFINISHED, playbook__name=name)
        if count := earlier.exclude(playbook__content_hash=after.content_hash).count():
            self._say(f"Unfinished runs that go on with an earlier version: {count}.")

    @staticmethod
    def _last_pinned(name: str) -> tuple[Definition, str]:
        """Of the highest version; where several contents have that version, the one that was pinned last."""
        rows = PinnedPlaybook.objects.filter(name=name)
        pinned = max(rows, key=lambda row: (version_order(row.version), row.pk), default=None)
        if pinned is None:
            raise CommandError(
                f"No run was started with {name} yet: name another playbook, or a file, to compare it with."
            )
        return pinned.definition, f"the version {pinned.version} that runs were last started with"

    @staticmethod
    def _named(name: str) -> Playbook:
        if name.endswith(".toml"):
            return load(Path(name))
        known = playbooks()
        if name not in known:
            raise CommandError(f"There is no playbook {name}{nearest(name, known)}")
        return known[name]

    def _say(self, *lines: str) -> None:
        for line in lines:
            self.stdout.write(line)
