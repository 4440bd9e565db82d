"""Anchors, a chain for what belongs to no run, and triggers against the ways around the first ones."""

import hashlib
import json

from django.db import migrations, models

ENTRY, ANCHOR = "onboarding_auditentry", "onboarding_auditanchor"
REFUSE = "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
SQLITE = [
    f"CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON {ANCHOR} {REFUSE}",
    f"CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON {ANCHOR} {REFUSE}",
    # INSERT OR REPLACE removes the row in its way without firing delete triggers (https://sqlite.org/lang_replace.html).
    f"""CREATE TRIGGER audit_no_replace BEFORE INSERT ON {ENTRY}
        WHEN EXISTS (SELECT 1 FROM {ENTRY} WHERE id = NEW.id)
          OR EXISTS (SELECT 1 FROM {ENTRY} WHERE transaction_id IS NEW.transaction_id AND sequence = NEW.sequence)
        {REFUSE}""",
    f"""CREATE TRIGGER audit_anchor_no_replace BEFORE INSERT ON {ANCHOR}
        WHEN EXISTS (SELECT 1 FROM {ANCHOR} WHERE id = NEW.id OR sequence = NEW.sequence) {REFUSE}""",
]
POSTGRESQL = [
    f"""CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON {ANCHOR}
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()""",
    *(
        f"""CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"""
        for table in (ENTRY, ANCHOR)
    ),
]
UNDO_SQLITE = [
    f"DROP TRIGGER {name}"
    for name in ("audit_anchor_no_update", "audit_anchor_no_delete", "audit_no_replace", "audit_anchor_no_replace")
]
UNDO_POSTGRESQL = [
    f"DROP TRIGGER audit_append_only ON {ANCHOR}",
    *(f"DROP TRIGGER audit_no_truncate ON {table}" for table in (ENTRY, ANCHOR)),
]
ALLOW = {
    "sqlite": ["DROP TRIGGER audit_no_update"],
    "postgresql": [f"ALTER TABLE {ENTRY} DISABLE TRIGGER audit_append_only"],
}
FORBID = {
    "sqlite": [f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON {ENTRY} {REFUSE}"],
    "postgresql": [f"ALTER TABLE {ENTRY} ENABLE TRIGGER audit_append_only"],
}


def run(statements):
    def apply(apps, schema_editor):
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement)

    return apply


def chain_what_belongs_to_no_run(apps, schema_editor):
    """Until now each of these stood for itself, numbered 0."""
    entries, heads = apps.get_model("onboarding", "AuditEntry"), apps.get_model("onboarding", "AuditHead")
    sequence, head = 0, ""
    for entry in entries.objects.filter(transaction=None).order_by("pk"):
        sequence += 1
        at = entry.at.isoformat(timespec="microseconds")
        parts = [head, None, sequence, entry.name, entry.actor, entry.request_id, entry.data, at]
        canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        entries.objects.filter(pk=entry.pk).update(sequence=sequence, previous_hash=head, hash=digest)
        head = digest
    heads.objects.create(chain="elsewhere", sequence=sequence, hash=head)
    heads.objects.create(chain="anchors")


class Migration(migrations.Migration):
    dependencies = [("onboarding", "0004_drop_unused_confirmation")]
    operations = [
        migrations.CreateModel(
            name='AuditAnchor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.PositiveIntegerField(unique=True)),
                ('at', models.DateTimeField()),
                ('through', models.BigIntegerField(help_text="The last audit entry's primary key that was looked at.")),
                ('entries', models.PositiveIntegerField(help_text='How many entries moved the chains since the anchor before.')),
                ('heads', models.JSONField(help_text='[[run or null, sequence, hash], ...]; null: the chain of what belongs to no run.')),
                ('previous_hash', models.CharField(blank=True, max_length=64)),
                ('hash', models.CharField(max_length=64)),
            ],
            options={
                'ordering': ['sequence'],
            },
        ),
        migrations.CreateModel(
            name='AuditHead',
            fields=[
                ('chain', models.CharField(max_length=16, primary_key=True, serialize=False)),
                ('sequence', models.PositiveIntegerField(default=0)),
                ('hash', models.CharField(blank=True, max_length=64)),
            ],
        ),
        migrations.RunPython(run(ALLOW), run(FORBID)),
        migrations.RunPython(chain_what_belongs_to_no_run, migrations.RunPython.noop),
        migrations.RunPython(run(FORBID), run(ALLOW)),
        migrations.AddConstraint(
            model_name='auditentry',
            constraint=models.UniqueConstraint(condition=models.Q(('transaction', None)), fields=('sequence',), name='audit_elsewhere_sequence_once'),
        ),
        migrations.RunPython(
            run({"sqlite": SQLITE, "postgresql": POSTGRESQL}),
            run({"sqlite": UNDO_SQLITE, "postgresql": UNDO_POSTGRESQL}),
        ),
    ]
