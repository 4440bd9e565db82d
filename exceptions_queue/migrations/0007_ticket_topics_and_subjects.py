"""Tickets say by a topic what they ask in particular, and may be about an object's mapping or a finding of an audit."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


REFUNDED = 'The payment was refunded.'


def name_topics(apps, schema_editor):
    """What a ticket asked was told by its subject and its message until now. Last of all: PostgreSQL alters no table after it."""
    tickets = apps.get_model('exceptions_queue', 'Ticket').objects.using(schema_editor.connection.alias)
    changes = tickets.filter(change_request__isnull=False)
    changes.update(topic='change')
    connections = tickets.filter(connection__isnull=False)
    connections.filter(category='internal-error').update(topic='event')
    connections.exclude(category='internal-error').update(topic='connection')
    decisions = tickets.filter(
        category='approval-overdue', transaction__isnull=False, step=None, change_request__isnull=True
    )
    decisions.filter(message__startswith=REFUNDED).update(topic='refund')
    decisions.exclude(message__startswith=REFUNDED).update(topic='payment')


class Migration(migrations.Migration):

    dependencies = [
        ('exceptions_queue', '0006_indexes'),
        ('integrations', '0005_indexes'),
        ('onboarding', '0014_audit_finding'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='ticket',
            options={'ordering': ['sla_due', 'pk']},
        ),
        migrations.RemoveConstraint(
            model_name='ticket',
            name='ticket_one_subject',
        ),
        migrations.RemoveConstraint(
            model_name='ticket',
            name='ticket_open_once_per_step',
        ),
        migrations.RemoveConstraint(
            model_name='ticket',
            name='ticket_open_once_per_connection',
        ),
        migrations.RemoveConstraint(
            model_name='ticket',
            name='ticket_open_once_per_run',
        ),
        migrations.RemoveConstraint(
            model_name='ticket',
            name='ticket_open_once_per_change',
        ),
        migrations.AddField(
            model_name='ticket',
            name='finding',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tickets', to='onboarding.auditfinding'),
        ),
        migrations.AddField(
            model_name='ticket',
            name='mapping',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='tickets', to='onboarding.objectmapping'),
        ),
        migrations.AddField(
            model_name='ticket',
            name='topic',
            field=models.CharField(blank=True, choices=[('', 'The failure itself'), ('refund', 'Refund'), ('payment', 'Which payment'), ('change', 'Change of the data'), ('connection', 'Connection'), ('event', 'Event'), ('object', 'Object at the vendor'), ('audit', 'Audit trail')], default='', max_length=32),
        ),
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('connection__isnull', True), ('transaction__isnull', False), models.Q(('step__isnull', True), ('change_request__isnull', True), _connector='OR'), models.Q(('step__isnull', True), ('mapping__isnull', True), _connector='OR'), models.Q(('step__isnull', True), ('finding__isnull', True), _connector='OR'), models.Q(('change_request__isnull', True), ('mapping__isnull', True), _connector='OR'), models.Q(('change_request__isnull', True), ('finding__isnull', True), _connector='OR'), models.Q(('mapping__isnull', True), ('finding__isnull', True), _connector='OR')), models.Q(('connection__isnull', False), ('transaction__isnull', True), ('change_request__isnull', True), ('finding__isnull', True), ('mapping__isnull', True), ('step__isnull', True)), models.Q(('connection__isnull', True), ('finding__isnull', False), ('transaction__isnull', True), ('change_request__isnull', True), ('mapping__isnull', True), ('step__isnull', True)), _connector='OR'), name='ticket_one_subject'),
        ),
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.UniqueConstraint(condition=models.Q(('change_request__isnull', True), ('finding__isnull', True), ('mapping__isnull', True), ('step__isnull', True), ('status__in', ('open', 'retrying'))), fields=('transaction', 'topic'), name='ticket_open_once_per_run'),
        ),
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ('open', 'retrying'))), fields=('change_request', 'topic'), name='ticket_open_once_per_change'),
        ),
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ('open', 'retrying'))), fields=('step', 'topic'), name='ticket_open_once_per_step'),
        ),
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ('open', 'retrying'))), fields=('connection', 'topic'), name='ticket_open_once_per_connection'),
        ),
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ('open', 'retrying'))), fields=('mapping', 'topic'), name='ticket_open_once_per_mapping'),
        ),
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ('open', 'retrying'))), fields=('finding', 'topic'), name='ticket_open_once_per_finding'),
        ),
        migrations.RunPython(name_topics, migrations.RunPython.noop),
    ]
