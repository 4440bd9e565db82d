"""Going back to an earlier schema, for the tests of migrations that change rows."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader


class _OneByOne(MigrationLoader):
    """Knows the migrations that a squashed one replaces, and not that one: the database was made by it, at once."""

    def load_disk(self) -> None:
        super().load_disk()
        self.disk_migrations = {name: each for name, each in self.disk_migrations.items() if not each.replaces}


def executor() -> MigrationExecutor:
    """Goes from any migration to any other one, one by one."""
    made = MigrationExecutor(connection)
    made.loader = _OneByOne(connection)
    return made
