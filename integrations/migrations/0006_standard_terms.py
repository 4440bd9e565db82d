from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('integrations', '0005_indexes'),
    ]

    operations = [
        migrations.RenameField(
            model_name='connection',
            old_name='pace',
            new_name='concurrency_limit',
        ),
        migrations.RenameField(
            model_name='connection',
            old_name='pace_changed_at',
            new_name='concurrency_changed_at',
        ),
        migrations.RenameField(
            model_name='connection',
            old_name='ramping',
            new_name='slow_start',
        ),
        migrations.RenameField(
            model_name='inboundevent',
            old_name='hinted_until',
            new_name='enqueued_until',
        ),
        migrations.AlterModelOptions(
            name='connection',
            options={'ordering': ['system', 'slug'], 'permissions': [('test_connection', 'Can test a connection'), ('enter_credentials', 'Can enter credentials'), ('use_sandbox', "Can break and fix the sandbox's vendors")]},
        ),
        migrations.AlterField(
            model_name='connection',
            name='max_concurrency',
            field=models.PositiveSmallIntegerField(blank=True, help_text='Concurrent calls; empty for no limit.', null=True),
        ),
        migrations.AlterField(
            model_name='inboundevent',
            name='enqueued_until',
            field=models.DateTimeField(help_text='A message for it is in the broker; until then the sweep publishes no other.', null=True),
        ),
    ]
