"""For migrations: giving up an index, and nothing else of its table."""

from typing import Any

from django.db import migrations


class GiveUpIndex(migrations.AlterField):
    """A field's ``db_index=False``.

    ``AlterField`` would do more: SQLite rebuilds the table, which loses its triggers, and PostgreSQL checks the foreign
    key anew on every row.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:  # noqa: ARG002
        model = from_state.apps.get_model(app_label, self.model_name)
        column = model._meta.get_field(self.name).column
        declared = {each.name for each in (*model._meta.indexes, *model._meta.constraints)}
        for name in schema_editor._constraint_names(model, [column], index=True, unique=False, exclude=declared):
            schema_editor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:  # noqa: ARG002
        model = to_state.apps.get_model(app_label, self.model_name)
        schema_editor.execute(schema_editor._create_index_sql(model, fields=[model._meta.get_field(self.name)]))
