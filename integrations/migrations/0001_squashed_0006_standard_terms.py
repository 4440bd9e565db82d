"""The schema as of 0006_standard_terms, made at once: one migration after the other takes ten times as long."""

import django.core.validators
import django.db.models.deletion
import django_fsm
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('integrations', '0001_initial'),
        ('integrations', '0002_use_sandbox'),
        ('integrations', '0003_breaker_and_release'),
        ('integrations', '0004_lowered_at'),
        ('integrations', '0005_indexes'),
        ('integrations', '0006_standard_terms'),
    ]

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Connection',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(max_length=63, unique=True, validators=[django.core.validators.RegexValidator('^[a-z0-9][a-z0-9-]{0,62}$', 'Lower-case letters, digits and hyphens, starting with a letter or digit.')])),
                ('system', models.CharField(choices=[('billing', 'Billing'), ('esign', 'E-signature'), ('crm', 'CRM'), ('erp', 'ERP'), ('delivery', 'Delivery'), ('support', 'Support'), ('identity', 'Identity'), ('product', 'Product'), ('scheduling', 'Scheduling'), ('email', 'Email'), ('chat', 'Chat'), ('workflow', 'Workflow')], max_length=16)),
                ('provider', models.CharField(max_length=32)),
                ('base_url', models.URLField(blank=True, max_length=500)),
                ('environment', models.CharField(choices=[('sandbox', 'Sandbox'), ('production', 'Production')], default='production', max_length=16)),
                ('enabled', models.BooleanField(default=True)),
                ('options', models.JSONField(blank=True, default=dict, help_text="Provider options, such as Asana's template and team.")),
                ('breaker', django_fsm.FSMField(choices=[('closed', 'Closed'), ('open', 'Open'), ('half-open', 'Half-open')], default='closed', editable=False, max_length=50, protected=True)),
                ('breaker_reason', models.CharField(blank=True, editable=False, max_length=500)),
                ('breaker_changed_at', models.DateTimeField(editable=False, null=True)),
                ('breaker_cause', models.CharField(blank=True, choices=[('auth-error', 'Credentials refused'), ('server-error', 'The vendor does not answer')], editable=False, help_text='Of the last time that it opened.', max_length=16)),
                ('failures', models.PositiveSmallIntegerField(default=0, editable=False, help_text='Server errors, timeouts and broken connections since the last success.')),
                ('failures_of', models.CharField(blank=True, editable=False, help_text='The step that had all of these; empty for several.', max_length=64)),
                ('probe_at', models.DateTimeField(editable=False, null=True)),
                ('probed_at', models.DateTimeField(editable=False, null=True)),
                ('failed_probes', models.PositiveSmallIntegerField(default=0, editable=False)),
                ('credentials_version', models.PositiveIntegerField(default=1, editable=False)),
                ('max_concurrency', models.PositiveSmallIntegerField(blank=True, help_text='Concurrent calls; empty for no limit.', null=True)),
                ('concurrency_limit', models.PositiveSmallIntegerField(editable=False, null=True)),
                ('concurrency_changed_at', models.DateTimeField(editable=False, null=True)),
                ('lowered_at', models.DateTimeField(editable=False, null=True)),
                ('refusals', models.PositiveSmallIntegerField(default=0, editable=False)),
                ('paused_until', models.DateTimeField(editable=False, null=True)),
                ('slow_start', models.BooleanField(default=False, editable=False)),
                ('released_at', models.DateTimeField(editable=False, null=True)),
                ('release_total', models.PositiveIntegerField(default=0, editable=False, help_text='Runs that were parked when the breaker last closed.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ['system', 'slug'],
                'permissions': [('test_connection', 'Can test a connection'), ('enter_credentials', 'Can enter credentials'), ('use_sandbox', "Can break and fix the sandbox's vendors")],
                'constraints': [models.CheckConstraint(condition=models.Q(('environment__in', ['sandbox', 'production'])), name='connection_environment_known')],
            },
        ),
        migrations.CreateModel(
            name='ApiCall',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(blank=True, help_text='What it was made for, such as step:12.', max_length=100)),
                ('method', models.CharField(max_length=8)),
                ('path', models.CharField(max_length=500)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('request', models.JSONField(null=True)),
                ('response', models.JSONField(null=True)),
                ('duration_ms', models.PositiveIntegerField()),
                ('at', models.DateTimeField()),
                ('connection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='calls', to='integrations.connection')),
            ],
            options={
                'verbose_name': 'API call',
                'ordering': ['-pk'],
                'indexes': [models.Index(fields=['subject'], name='integration_subject_38038f_idx'), models.Index(fields=['at'], name='integration_at_a7d4f8_idx')],
            },
        ),
        migrations.CreateModel(
            name='ConnectionSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=32)),
                ('ciphertext', models.TextField()),
                ('active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='secret_rows', to='integrations.connection')),
            ],
            options={
                'indexes': [models.Index(fields=['connection', 'name'], name='integration_connect_581e01_idx')],
            },
        ),
        migrations.CreateModel(
            name='ConnectionSlot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('holder', models.CharField(blank=True, max_length=64)),
                ('leased_until', models.DateTimeField(null=True)),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='slots', to='integrations.connection')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('connection', 'number'), name='slot_once')],
            },
        ),
        migrations.CreateModel(
            name='InboundEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(max_length=255)),
                ('type', models.CharField(blank=True, max_length=100)),
                ('body', models.TextField(help_text='The raw body, encrypted: it holds personal data.')),
                ('occurred_at', models.DateTimeField(null=True)),
                ('received_at', models.DateTimeField()),
                ('state', django_fsm.FSMField(choices=[('received', 'Received'), ('held', 'Held'), ('processed', 'Processed'), ('ignored', 'Ignored'), ('failed', 'Failed')], default='received', max_length=50, protected=True)),
                ('due_at', models.DateTimeField(help_text='When to process it; empty once done.', null=True)),
                ('enqueued_until', models.DateTimeField(help_text='A message for it is in the broker; until then the sweep publishes no other.', null=True)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('outcome', models.CharField(blank=True, max_length=500)),
                ('processed_at', models.DateTimeField(null=True)),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='integrations.connection')),
            ],
            options={
                'ordering': ['-pk'],
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='inbound_event_due'), models.Index(condition=models.Q(('state', 'failed')), fields=['connection'], name='inbound_event_failed'), models.Index(fields=['processed_at'], name='inbound_event_processed'), models.Index(fields=['external_id'], name='integration_externa_7b68cb_idx')],
                'constraints': [models.UniqueConstraint(fields=('connection', 'external_id'), name='inbound_event_once')],
            },
        ),
    ]
