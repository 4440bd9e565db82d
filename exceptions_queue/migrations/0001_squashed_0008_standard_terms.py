"""The schema as of 0008_standard_terms, made at once: one migration after the other takes ten times as long."""

import django.db.models.deletion
import django_fsm
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('exceptions_queue', '0001_initial'),
        ('exceptions_queue', '0002_clocks'),
        ('exceptions_queue', '0003_categories'),
        ('exceptions_queue', '0004_change_tickets'),
        ('exceptions_queue', '0005_ticket_snooze'),
        ('exceptions_queue', '0006_indexes'),
        ('exceptions_queue', '0007_ticket_topics_and_subjects'),
        ('exceptions_queue', '0008_standard_terms'),
    ]

    dependencies = [
        ('integrations', '0001_squashed_0006_standard_terms'),
        ('onboarding', '0001_squashed_0016_standard_terms'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Queue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(choices=[('sales-ops', 'Sales operations'), ('support-ops', 'Support operations'), ('revenue-operations', 'Revenue-operations engineering'), ('finance', 'Finance'), ('leads', 'Leads')], editable=False, max_length=32, unique=True)),
                ('email', models.EmailField(blank=True, help_text='Where mail for the whole team goes; empty: to each member.', max_length=254)),
            ],
            options={
                'ordering': ['slug'],
            },
        ),
        migrations.CreateModel(
            name='CrmOwner',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('crm_owner_id', models.CharField(max_length=100, unique=True, verbose_name='CRM owner id')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='crm_owner_ids', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'CRM owner',
            },
        ),
        migrations.CreateModel(
            name='SlaClock',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('milestone', models.CharField(choices=[('P1', 'Paid to provisioned'), ('P2', 'Provisioned to kickoff'), ('CR', 'Change requested to done')], max_length=2)),
                ('target_minutes', models.PositiveIntegerField(help_text="Of the calendar's business time, where it has one.")),
                ('at_risk_percent', models.PositiveSmallIntegerField()),
                ('calendar', models.CharField(blank=True, help_text='Digest of the business calendar; empty: round the clock.', max_length=32)),
                ('state', django_fsm.FSMField(choices=[('running', 'Running'), ('breached', 'Breached'), ('met', 'Met'), ('met_late', 'Met late'), ('cancelled', 'Cancelled')], default='running', max_length=50, protected=True)),
                ('started_at', models.DateTimeField()),
                ('at_risk_at', models.DateTimeField()),
                ('due_at', models.DateTimeField()),
                ('at_risk_seen', models.BooleanField(default=False, help_text='The at-risk transition has been applied.')),
                ('breached_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('next_transition_at', models.DateTimeField(null=True)),
                ('change_request', models.OneToOneField(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='sla_clock', to='onboarding.changerequest')),
                ('current_of', models.OneToOneField(help_text="Set on the run's latest clock alone, so that lists join one row a run.", null=True, on_delete=django.db.models.deletion.CASCADE, related_name='sla_clock', to='onboarding.onboardingtransaction')),
                ('transaction', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='clocks', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='Ticket',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', django_fsm.FSMField(choices=[('open', 'Open'), ('retrying', 'Retrying'), ('resolved', 'Resolved')], default='open', max_length=50, protected=True)),
                ('category', models.CharField(choices=[('missing-data', 'Missing data'), ('ambiguous-match', 'Ambiguous match'), ('rate-limit', 'Rate limit'), ('server-error', 'Server error'), ('auth-error', 'Authentication error'), ('validation-error', 'Validation error'), ('not-configured', 'Not configured'), ('unknown-outcome', 'Unknown outcome'), ('approval-overdue', 'Decision due'), ('stalled', 'Stalled'), ('rollback-failed', 'Rollback failed'), ('internal-error', 'Internal error')], max_length=32)),
                ('topic', models.CharField(blank=True, choices=[('', 'The failure itself'), ('refund', 'Refund'), ('payment', 'Which payment'), ('change', 'Change of the data'), ('connection', 'Connection'), ('event', 'Event'), ('object', 'Object at the vendor'), ('audit', 'Audit trail')], default='', max_length=32)),
                ('system', models.CharField(choices=[('billing', 'Billing'), ('esign', 'E-signature'), ('crm', 'CRM'), ('erp', 'ERP'), ('delivery', 'Delivery'), ('support', 'Support'), ('identity', 'Identity'), ('product', 'Product'), ('scheduling', 'Scheduling'), ('email', 'Email'), ('chat', 'Chat'), ('workflow', 'Workflow')], max_length=16)),
                ('queue', models.CharField(choices=[('sales-ops', 'Sales operations'), ('support-ops', 'Support operations'), ('revenue-operations', 'Revenue-operations engineering'), ('finance', 'Finance'), ('leads', 'Leads')], max_length=32)),
                ('message', models.TextField()),
                ('http_status', models.PositiveSmallIntegerField(null=True, verbose_name='HTTP status')),
                ('problems', models.JSONField(default=list)),
                ('candidates', models.JSONField(default=list)),
                ('fingerprint', models.CharField(max_length=64)),
                ('opened_at', models.DateTimeField()),
                ('sla_due', models.DateTimeField(null=True, verbose_name='SLA due')),
                ('resolved_at', models.DateTimeField(null=True)),
                ('resolution', models.CharField(blank=True, max_length=200)),
                ('snoozed_until', models.DateTimeField(help_text="Snoozed by a person until then; it is nobody's next.", null=True)),
                ('snoozed_by', models.CharField(blank=True, max_length=150)),
                ('snooze_reason', models.CharField(blank=True, max_length=500)),
                ('change_request', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tickets', to='onboarding.changerequest')),
                ('connection', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tickets', to='integrations.connection')),
                ('finding', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tickets', to='onboarding.auditfinding')),
                ('mapping', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='tickets', to='onboarding.objectmapping')),
                ('owner', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='tickets', to=settings.AUTH_USER_MODEL)),
                ('retry_of', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='exceptions_queue.ticket')),
                ('step', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tickets', to='onboarding.step')),
                ('transaction', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tickets', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['sla_due', 'pk'],
            },
        ),
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('level', models.CharField(default='at-risk', max_length=16)),
                ('channel', models.CharField(default='email', max_length=16)),
                ('recipient', models.CharField(max_length=254)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('sent', 'Sent'), ('not-needed', 'Not needed any more'), ('failed', 'Failed')], default='pending', max_length=16)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('error', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField()),
                ('due_at', models.DateTimeField(null=True)),
                ('sent_at', models.DateTimeField(null=True)),
                ('clock', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='alerts', to='exceptions_queue.slaclock')),
                ('ticket', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='alerts', to='exceptions_queue.ticket')),
            ],
        ),
        migrations.CreateModel(
            name='TicketNote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('author', models.CharField(max_length=150)),
                ('text', models.TextField(max_length=4000)),
                ('at', models.DateTimeField()),
                ('ticket', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notes', to='exceptions_queue.ticket')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.AddIndex(
            model_name='slaclock',
            index=models.Index(condition=models.Q(('next_transition_at__isnull', False)), fields=['next_transition_at'], name='clock_next_transition'),
        ),
        migrations.AddIndex(
            model_name='slaclock',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['due_at'], name='clock_not_ended'),
        ),
        migrations.AddConstraint(
            model_name='slaclock',
            constraint=models.UniqueConstraint(condition=models.Q(('change_request__isnull', True)), fields=('transaction', 'milestone'), name='clock_once_per_milestone'),
        ),
        migrations.AddConstraint(
            model_name='slaclock',
            constraint=models.CheckConstraint(condition=models.Q(('current_of__isnull', True), ('current_of', models.F('transaction')), _connector='OR'), name='clock_current_of_its_run'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['sla_due', 'id'], name='ticket_by_due'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['opened_at'], name='exceptions__opened__a8c0a8_idx'),
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
        migrations.AddConstraint(
            model_name='ticket',
            constraint=models.CheckConstraint(condition=models.Q(('queue', ''), _negated=True), name='ticket_has_a_queue'),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='alert_due'),
        ),
        migrations.AddConstraint(
            model_name='alert',
            constraint=models.UniqueConstraint(fields=('clock', 'level', 'channel', 'recipient'), name='alert_once'),
        ),
    ]
