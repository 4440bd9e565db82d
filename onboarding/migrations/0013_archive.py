"""The archive's manifest; and audit entries may be deleted where a part that is archived covers them, and only there."""

import django.db.models.deletion
from django.db import migrations, models

ENTRY, PART = "onboarding_auditentry", "onboarding_archivedrun"
COVERED = f"""EXISTS (SELECT 1 FROM {PART} WHERE transaction_id = OLD.transaction_id
    AND OLD.sequence BETWEEN first_sequence AND last_sequence AND (OLD.sequence < last_sequence OR OLD.hash = head))"""
REFUSAL = "the audit trail is append-only"
POSTGRESQL = [
    f"""CREATE FUNCTION audit_leaves_by_archive() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF {COVERED} THEN RETURN OLD; END IF; RAISE EXCEPTION '{REFUSAL}'; END $$""",
    f"DROP TRIGGER audit_append_only ON {ENTRY}",
    f"""CREATE TRIGGER audit_append_only BEFORE UPDATE ON {ENTRY}
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()""",
    f"""CREATE TRIGGER audit_leaves_by_archive BEFORE DELETE ON {ENTRY}
        FOR EACH ROW EXECUTE FUNCTION audit_leaves_by_archive()""",
]
UNDO_POSTGRESQL = [
    f"DROP TRIGGER audit_leaves_by_archive ON {ENTRY}",
    f"DROP TRIGGER audit_append_only ON {ENTRY}",
    f"""CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON {ENTRY}
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()""",
    "DROP FUNCTION audit_leaves_by_archive",
]
SQLITE = [
    "DROP TRIGGER audit_no_delete",
    f"""CREATE TRIGGER audit_no_delete BEFORE DELETE ON {ENTRY} WHEN NOT {COVERED}
        BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",
]
UNDO_SQLITE = [
    "DROP TRIGGER audit_no_delete",
    f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {ENTRY} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
]


def run(statements):
    def apply(apps, schema_editor):
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement)

    return apply


class Migration(migrations.Migration):

    dependencies = [
        ('onboarding', '0012_indexes'),
    ]

    operations = [
        migrations.CreateModel(
            name='ArchiveBatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Path of its files in ARCHIVE_DIR, without ending.', max_length=64, unique=True)),
                ('month', models.CharField(help_text='In which its runs ended, such as 2026-08.', max_length=7)),
                ('written_at', models.DateTimeField(help_text='Empty: it is being written, or was cut off.', null=True)),
                ('runs', models.PositiveIntegerField(default=0)),
                ('entries', models.PositiveIntegerField(default=0)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('calls', models.PositiveIntegerField(default=0)),
                ('trail_sha256', models.CharField(blank=True, max_length=64)),
                ('trail_bytes', models.BigIntegerField(default=0)),
                ('calls_sha256', models.CharField(blank=True, max_length=64)),
                ('calls_bytes', models.BigIntegerField(default=0)),
                ('newest_call_at', models.DateTimeField(null=True)),
                ('calls_removed_at', models.DateTimeField(help_text='When the file with its calls was deleted: retention.', null=True)),
            ],
            options={
                'verbose_name_plural': 'archive batches',
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='ArchivedRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_sequence', models.PositiveIntegerField()),
                ('last_sequence', models.PositiveIntegerField()),
                ('head', models.CharField(max_length=64)),
                ('attempts', models.PositiveIntegerField()),
                ('calls', models.PositiveIntegerField()),
                ('offset', models.BigIntegerField()),
                ('length', models.PositiveIntegerField()),
                ('calls_offset', models.BigIntegerField()),
                ('calls_length', models.PositiveIntegerField()),
                ('batch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='parts', to='onboarding.archivebatch')),
                ('transaction', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='archived', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['pk'],
                'constraints': [models.UniqueConstraint(fields=('transaction', 'last_sequence'), name='archived_run_part_once')],
            },
        ),
        migrations.RunPython(
            run({"sqlite": SQLITE, "postgresql": POSTGRESQL}),
            run({"sqlite": UNDO_SQLITE, "postgresql": UNDO_POSTGRESQL}),
        ),
    ]
