from typing import Any

from django.db import migrations, models


def copy_names(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001
    """Of the contacts of the runs that are there, as their current snapshots have them."""
    run_model, snapshots = (apps.get_model("onboarding", name) for name in ("OnboardingTransaction", "PayloadSnapshot"))
    current = snapshots.objects.filter(version=models.F("transaction__snapshot_version"))
    for run_pk, content in current.values_list("transaction_id", "content").iterator(chunk_size=500):
        name = ((content.get("customer") or {}).get("primary_contact") or {}).get("name") or ""
        run_model.objects.filter(pk=run_pk).update(contact_name=str(name)[:255])


class Migration(migrations.Migration):

    dependencies = [
        ('onboarding', '0010_origins'),
    ]

    operations = [
        migrations.AddField(
            model_name='onboardingtransaction',
            name='contact_name',
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.RunPython(copy_names, migrations.RunPython.noop),
    ]
