import django.db.models.deletion
from django.db import migrations, models

from integrations.database.index_migrations import GiveUpIndex


class Migration(migrations.Migration):

    dependencies = [
        ('integrations', '0004_lowered_at'),
    ]

    operations = [
        GiveUpIndex(
            model_name='connectionsecret',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='secret_rows', to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='connectionslot',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='slots', to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='inboundevent',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='integrations.connection'),
        ),
        migrations.AddIndex(
            model_name='inboundevent',
            index=models.Index(condition=models.Q(('state', 'failed')), fields=['connection'], name='inbound_event_failed'),
        ),
        migrations.AddIndex(
            model_name='inboundevent',
            index=models.Index(fields=['processed_at'], name='inbound_event_processed'),
        ),
    ]
