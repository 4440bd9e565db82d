from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exceptions_queue', '0007_ticket_topics_and_subjects'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='alert',
            name='alert_once',
        ),
        migrations.RenameField(
            model_name='alert',
            old_name='rung',
            new_name='level',
        ),
        migrations.AlterField(
            model_name='slaclock',
            name='at_risk_seen',
            field=models.BooleanField(default=False, help_text='The at-risk transition has been applied.'),
        ),
        migrations.AlterField(
            model_name='slaclock',
            name='milestone',
            field=models.CharField(choices=[('P1', 'Paid to provisioned'), ('P2', 'Provisioned to kickoff'), ('CR', 'Change requested to done')], max_length=2),
        ),
        migrations.AlterField(
            model_name='ticket',
            name='snoozed_until',
            field=models.DateTimeField(help_text="Snoozed by a person until then; it is nobody's next.", null=True),
        ),
        migrations.AddConstraint(
            model_name='alert',
            constraint=models.UniqueConstraint(fields=('clock', 'level', 'channel', 'recipient'), name='alert_once'),
        ),
    ]
