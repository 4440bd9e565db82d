from typing import Any

import django.db.models.deletion
from django.db import migrations, models

ROLES = ("checkout_session", "invoice", "payment_intent")


def keys_from_columns(apps: Any, schema_editor: Any) -> None:
    """A row for each id that stood in a column, with the kind that the same id has among the correlation keys."""
    key, trace, connection = (
        apps.get_model(*name)._meta.db_table
        for name in (("onboarding", "PaymentTraceKey"), ("onboarding", "PaymentTrace"), ("integrations", "Connection"))
    )
    for role in ROLES:
        schema_editor.execute(
            f"INSERT INTO {key} (trace_id, kind, value) SELECT t.id, c.provider || '.{role}', t.{role}"  # noqa: S608
            f" FROM {trace} t JOIN {connection} c ON c.id = t.connection_id WHERE t.{role} <> ''"
        )
    if schema_editor.connection.vendor == "postgresql":  # it alters no table whose foreign keys wait to be checked
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def columns_from_keys(apps: Any, schema_editor: Any) -> None:
    key, trace = (apps.get_model("onboarding", name)._meta.db_table for name in ("PaymentTraceKey", "PaymentTrace"))
    for role in ROLES:
        schema_editor.execute(
            f"UPDATE {trace} SET {role} = COALESCE((SELECT k.value FROM {key} k WHERE k.trace_id = {trace}.id"  # noqa: S608
            f" AND k.kind LIKE '%%.{role}'), '')"
        )
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Migration(migrations.Migration):
    dependencies = [("onboarding", "0014_audit_finding")]

    operations = [
        migrations.CreateModel(
            name="PaymentTraceKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=64)),
                ("value", models.CharField(max_length=255)),
                (
                    "trace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="keys",
                        to="onboarding.paymenttrace",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["value", "kind"], name="payment_trace_key_value")],
                "constraints": [models.UniqueConstraint(fields=("trace", "kind"), name="payment_trace_key_once")],
            },
        ),
        migrations.RunPython(keys_from_columns, columns_from_keys),
        migrations.RemoveIndex(model_name="paymenttrace", name="payment_trace_intent"),
        migrations.RemoveIndex(model_name="paymenttrace", name="payment_trace_invoice"),
        migrations.RemoveField(model_name="paymenttrace", name="checkout_session"),
        migrations.RemoveField(model_name="paymenttrace", name="invoice"),
        migrations.RemoveField(model_name="paymenttrace", name="payment_intent"),
        migrations.RemoveConstraint(model_name="invoicepaymentlink", name="invoice_payment_link_once"),
        migrations.RenameField(model_name="invoicepaymentlink", old_name="payment_intent", new_name="payment"),
        migrations.AddConstraint(
            model_name="invoicepaymentlink",
            constraint=models.UniqueConstraint(fields=("connection", "payment"), name="invoice_payment_link_once"),
        ),
        migrations.AlterField(
            model_name="paymenttrace",
            name="paired",
            field=models.BooleanField(default=False, help_text="It was joined by customer and amount, not by an id."),
        ),
        migrations.AlterField(
            model_name="paymenttrace",
            name="starts_nothing",
            field=models.BooleanField(
                default=False, help_text="A renewal: whatever else tells of this payment starts nothing either."
            ),
        ),
        migrations.AlterField(
            model_name="paymenttrace",
            name="told",
            field=models.JSONField(default=dict, help_text="The vendor's object id -> digest of what it last told us."),
        ),
    ]
