import django.db.models.deletion
from django.db import migrations, models


def name_the_state(apps, schema_editor):
    _change(apps, schema_editor, "open", "indeterminate")


def name_it_as_before(apps, schema_editor):
    _change(apps, schema_editor, "indeterminate", "open")


def _change(apps, schema_editor, before, after):
    intents = apps.get_model("onboarding", "Intent").objects.using(schema_editor.connection.alias)
    intents.filter(state=before).update(state=after)


class Migration(migrations.Migration):

    dependencies = [
        ('onboarding', '0015_payment_trace_keys'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='intent',
            name='intent_unsettled',
        ),
        migrations.RenameField(
            model_name='step',
            old_name='hinted_until',
            new_name='enqueued_until',
        ),
        migrations.RenameField(
            model_name='steppoll',
            old_name='hinted_until',
            new_name='enqueued_until',
        ),
        migrations.RenameField(
            model_name='intent',
            old_name='unknown_since',
            new_name='indeterminate_since',
        ),
        migrations.RenameField(
            model_name='paymenttrace',
            old_name='told',
            new_name='object_digests',
        ),
        migrations.AlterField(
            model_name='intent',
            name='indeterminate_since',
            field=models.DateTimeField(help_text='When the outcome was first found to be indeterminate.', null=True),
        ),
        migrations.AlterField(
            model_name='intent',
            name='state',
            field=models.CharField(choices=[('indeterminate', 'Indeterminate'), ('accepted', 'Accepted'), ('no-effect', 'No effect'), ('done', 'Done')], default='indeterminate', max_length=16),
        ),
        migrations.AlterField(
            model_name='step',
            name='enqueued_until',
            field=models.DateTimeField(help_text='A message for it is in the broker; until then the sweep publishes no other.', null=True),
        ),
        migrations.AlterField(
            model_name='step',
            name='forced',
            field=models.BooleanField(default=False, help_text='A person forced the rollback: its objects are removed though they were changed since.'),
        ),
        migrations.AlterField(
            model_name='step',
            name='problems',
            field=models.JSONField(default=list, help_text='Fields to fix: [{path, reason}].'),
        ),
        migrations.AlterField(
            model_name='step',
            name='waits_on',
            field=models.ForeignKey(db_index=False, help_text='The step that holds the reservation of a shared object.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='onboarding.step'),
        ),
        migrations.AlterField(
            model_name='steppoll',
            name='enqueued_until',
            field=models.DateTimeField(help_text='Until then a message to poll it is in the broker.', null=True),
        ),
        migrations.RunPython(name_the_state, name_it_as_before),
        migrations.AddIndex(
            model_name='intent',
            index=models.Index(condition=models.Q(('state__in', ('indeterminate', 'accepted'))), fields=['reference'], name='intent_indeterminate'),
        ),
    ]
