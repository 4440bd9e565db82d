import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from integrations.database.index_migrations import GiveUpIndex


class Migration(migrations.Migration):

    dependencies = [
        ('exceptions_queue', '0005_ticket_snooze'),
        ('integrations', '0005_indexes'),
        ('onboarding', '0012_indexes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='ticket',
            name='exceptions__status_ebcad0_idx',
        ),
        GiveUpIndex(
            model_name='alert',
            name='clock',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='alerts', to='exceptions_queue.slaclock'),
        ),
        GiveUpIndex(
            model_name='ticket',
            name='fingerprint',
            field=models.CharField(max_length=64),
        ),
        migrations.AddIndex(
            model_name='slaclock',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['due_at'], name='clock_not_ended'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['sla_due', 'id'], name='ticket_by_due'),
        ),
    ]
