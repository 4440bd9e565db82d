import django.db.models.deletion
from django.db import migrations, models

from integrations.database.index_migrations import GiveUpIndex


class Migration(migrations.Migration):

    dependencies = [
        ('integrations', '0005_indexes'),
        ('onboarding', '0011_contact_name'),
    ]

    operations = [
        GiveUpIndex(
            model_name='acceptedcontent',
            name='transaction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='accepted', to='onboarding.onboardingtransaction'),
        ),
        GiveUpIndex(
            model_name='attempt',
            name='step',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempt_rows', to='onboarding.step'),
        ),
        GiveUpIndex(
            model_name='auditentry',
            name='transaction',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit', to='onboarding.onboardingtransaction'),
        ),
        GiveUpIndex(
            model_name='billingsubscription',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='subscriptions', to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='intent',
            name='transaction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='intents', to='onboarding.onboardingtransaction'),
        ),
        GiveUpIndex(
            model_name='invoicepaymentlink',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='invoice_payments', to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='matchchoice',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='objectmapping',
            name='transaction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='mappings', to='onboarding.onboardingtransaction'),
        ),
        GiveUpIndex(
            model_name='payloadsnapshot',
            name='transaction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='snapshots', to='onboarding.onboardingtransaction'),
        ),
        GiveUpIndex(
            model_name='paymenttrace',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='payment_traces', to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='rejectedmatch',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='reservation',
            name='connection',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='runevent',
            name='transaction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='onboarding.onboardingtransaction'),
        ),
        GiveUpIndex(
            model_name='step',
            name='connection',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='integrations.connection'),
        ),
        GiveUpIndex(
            model_name='step',
            name='transaction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='onboarding.onboardingtransaction'),
        ),
        GiveUpIndex(
            model_name='step',
            name='waits_on',
            field=models.ForeignKey(db_index=False, help_text='The step whose turn it is with a shared object.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='onboarding.step'),
        ),
        migrations.AlterField(
            model_name='steppoll',
            name='due_at',
            field=models.DateTimeField(help_text='Empty: nothing is awaited any more.', null=True),
        ),
        migrations.AddIndex(
            model_name='reservation',
            index=models.Index(fields=['external_id'], name='reservation_object'),
        ),
        migrations.AddIndex(
            model_name='intent',
            index=models.Index(condition=models.Q(('state__in', ('open', 'accepted'))), fields=['reference'], name='intent_unsettled'),
        ),
        migrations.AddIndex(
            model_name='step',
            index=models.Index(condition=models.Q(('waits_on__isnull', False)), fields=['waits_on'], name='step_waits_on'),
        ),
        migrations.AddIndex(
            model_name='step',
            index=models.Index(condition=models.Q(('finished_at__isnull', True)), fields=['connection'], name='step_unfinished'),
        ),
        migrations.AddIndex(
            model_name='steppoll',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='step_poll_due'),
        ),
    ]
