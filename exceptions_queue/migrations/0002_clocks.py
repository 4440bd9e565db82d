import django.db.models.deletion
import django_fsm
from django.db import migrations, models


def every_clock_is_the_present_one(apps, schema_editor):
    """Until now a run had one clock, its P1."""
    apps.get_model("exceptions_queue", "SlaClock").objects.update(current_of=models.F("transaction"))


class Migration(migrations.Migration):

    dependencies = [
        ('exceptions_queue', '0001_initial'),
        ('onboarding', '0001_initial'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='slaclock',
            options={'ordering': ['pk']},
        ),
        migrations.AlterField(
            model_name='slaclock',
            name='transaction',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='clocks', to='onboarding.onboardingtransaction'),
        ),
        migrations.AlterField(
            model_name='slaclock',
            name='state',
            field=django_fsm.FSMField(choices=[('running', 'Running'), ('breached', 'Breached'), ('met', 'Met'), ('met_late', 'Met late'), ('cancelled', 'Cancelled')], default='running', max_length=50, protected=True),
        ),
        migrations.AddField(
            model_name='slaclock',
            name='milestone',
            field=models.CharField(choices=[('P1', 'Paid to set up'), ('P2', 'Set up to kickoff')], default='P1', max_length=2),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='slaclock',
            name='target_minutes',
            field=models.PositiveIntegerField(default=30, help_text="Of the calendar's business time, where it has one."),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='slaclock',
            name='at_risk_percent',
            field=models.PositiveSmallIntegerField(default=50),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='slaclock',
            name='calendar',
            field=models.CharField(blank=True, help_text='Digest of the business calendar; empty: round the clock.', max_length=32),
        ),
        migrations.AddField(
            model_name='slaclock',
            name='current_of',
            field=models.OneToOneField(help_text="Set on the run's latest clock alone, so that lists join one row a run.", null=True, on_delete=django.db.models.deletion.CASCADE, related_name='sla_clock', to='onboarding.onboardingtransaction'),
        ),
        migrations.AddConstraint(
            model_name='slaclock',
            constraint=models.UniqueConstraint(fields=('transaction', 'milestone'), name='clock_once_per_milestone'),
        ),
        migrations.AddConstraint(
            model_name='slaclock',
            constraint=models.CheckConstraint(condition=models.Q(('current_of__isnull', True), ('current_of', models.F('transaction')), _connector='OR'), name='clock_current_of_its_run'),
        ),
        migrations.RunPython(every_clock_is_the_present_one, migrations.RunPython.noop),
    ]
