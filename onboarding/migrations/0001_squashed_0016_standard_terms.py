"""The schema as of 0016_standard_terms, made at once: one migration after the other takes ten times as long.

An installation that has some of them goes on with those. The triggers keep the audit trail append-only on both databases; an entry
may be deleted where an archived part covers it, and only there.
"""

import django.core.validators
import django.db.models.deletion
import django_fsm
from django.db import migrations, models

ENTRY, ANCHOR, PART = "onboarding_auditentry", "onboarding_auditanchor", "onboarding_archivedrun"
REFUSAL = "the audit trail is append-only"
REFUSE = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
COVERED = f"""EXISTS (SELECT 1 FROM {PART} WHERE transaction_id = OLD.transaction_id
    AND OLD.sequence BETWEEN first_sequence AND last_sequence AND (OLD.sequence < last_sequence OR OLD.hash = head))"""
SQLITE = [
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON {ENTRY} {REFUSE}",
    f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {ENTRY} WHEN NOT {COVERED} {REFUSE}",
    f"CREATE TRIGGER audit_anchor_no_update BEFORE UPDATE ON {ANCHOR} {REFUSE}",
    f"CREATE TRIGGER audit_anchor_no_delete BEFORE DELETE ON {ANCHOR} {REFUSE}",
    # INSERT OR REPLACE removes the row in its way without firing delete triggers (https://sqlite.org/lang_replace.html).
    f"""CREATE TRIGGER audit_no_replace BEFORE INSERT ON {ENTRY}
        WHEN EXISTS (SELECT 1 FROM {ENTRY} WHERE id = NEW.id)
          OR EXISTS (SELECT 1 FROM {ENTRY} WHERE transaction_id IS NEW.transaction_id AND sequence = NEW.sequence)
        {REFUSE}""",
    f"""CREATE TRIGGER audit_anchor_no_replace BEFORE INSERT ON {ANCHOR}
        WHEN EXISTS (SELECT 1 FROM {ANCHOR} WHERE id = NEW.id OR sequence = NEW.sequence) {REFUSE}""",
]
POSTGRESQL = [
    f"""CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$""",
    f"""CREATE FUNCTION audit_leaves_by_archive() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF {COVERED} THEN RETURN OLD; END IF; RAISE EXCEPTION '{REFUSAL}'; END $$""",
    f"""CREATE TRIGGER audit_append_only BEFORE UPDATE ON {ENTRY}
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()""",
    f"""CREATE TRIGGER audit_leaves_by_archive BEFORE DELETE ON {ENTRY}
        FOR EACH ROW EXECUTE FUNCTION audit_leaves_by_archive()""",
    f"""CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON {ANCHOR}
        FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()""",
    *(
        f"""CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"""
        for table in (ENTRY, ANCHOR)
    ),
]
STATEMENTS = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def make_triggers(apps, schema_editor):
    for statement in STATEMENTS[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def make_heads(apps, schema_editor):
    """Of the two chains that belong to no run."""
    heads = apps.get_model("onboarding", "AuditHead")
    for chain in ("elsewhere", "anchors"):
        heads.objects.create(chain=chain)


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('onboarding', '0001_initial'),
        ('onboarding', '0002_audit_append_only'),
        ('onboarding', '0003_steps_and_actions'),
        ('onboarding', '0004_drop_unused_confirmation'),
        ('onboarding', '0005_audit_anchor'),
        ('onboarding', '0006_rollback'),
        ('onboarding', '0007_change_requests'),
        ('onboarding', '0008_step_poll'),
        ('onboarding', '0009_unmatched_events_and_subscriptions'),
        ('onboarding', '0010_origins'),
        ('onboarding', '0011_contact_name'),
        ('onboarding', '0012_indexes'),
        ('onboarding', '0013_archive'),
        ('onboarding', '0014_audit_finding'),
        ('onboarding', '0015_payment_trace_keys'),
        ('onboarding', '0016_standard_terms'),
    ]

    dependencies = [
        ('integrations', '0001_squashed_0006_standard_terms'),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('prefix', models.CharField(help_text="The key's first characters, to recognise it by.", max_length=12)),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('scope', models.CharField(choices=[('intake', 'Intake'), ('read', 'Read'), ('operate', 'Operate')], max_length=16)),
                ('fills', models.JSONField(blank=True, default=list, help_text='Sources (connections, API keys) whose runs this key may fill in and read, beside those that it began.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name': 'API key',
            },
        ),
        migrations.CreateModel(
            name='ArchiveBatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Path of its files in ARCHIVE_DIR, without ending.', max_length=64, unique=True)),
                ('month', models.CharField(help_text='In which its runs ended, such as 2026-08.', max_length=7)),
                ('written_at', models.DateTimeField(help_text='Empty: it is being written, or was cut off.', null=True)),
                ('runs', models.PositiveIntegerField(default=0)),
                ('entries', models.PositiveIntegerField(default=0)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('calls', models.PositiveIntegerField(default=0)),
                ('trail_sha256', models.CharField(blank=True, max_length=64)),
                ('trail_bytes', models.BigIntegerField(default=0)),
                ('calls_sha256', models.CharField(blank=True, max_length=64)),
                ('calls_bytes', models.BigIntegerField(default=0)),
                ('newest_call_at', models.DateTimeField(null=True)),
                ('calls_removed_at', models.DateTimeField(help_text='When the file with its calls was deleted: retention.', null=True)),
            ],
            options={
                'verbose_name_plural': 'archive batches',
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='AuditAnchor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.PositiveIntegerField(unique=True)),
                ('at', models.DateTimeField()),
                ('through', models.BigIntegerField(help_text="The last audit entry's primary key that was looked at.")),
                ('entries', models.PositiveIntegerField(help_text='How many entries moved the chains since the anchor before.')),
                ('heads', models.JSONField(help_text='[[run or null, sequence, hash], ...]; null: the chain of what belongs to no run.')),
                ('previous_hash', models.CharField(blank=True, max_length=64)),
                ('hash', models.CharField(max_length=64)),
            ],
            options={
                'ordering': ['sequence'],
            },
        ),
        migrations.CreateModel(
            name='AuditHead',
            fields=[
                ('chain', models.CharField(max_length=16, primary_key=True, serialize=False)),
                ('sequence', models.PositiveIntegerField(default=0)),
                ('hash', models.CharField(blank=True, max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name='ImplementationOwner',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(help_text="The user's id in the delivery system, such as Asana's.", max_length=100, unique=True, verbose_name='Id in delivery')),
                ('name', models.CharField(max_length=150)),
                ('email', models.EmailField(blank=True, help_text='Named in the welcome mail.', max_length=254)),
                ('territories', models.CharField(blank=True, help_text='Separated by commas, such as emea, apac; empty: every territory.', max_length=500)),
                ('segments', models.CharField(blank=True, help_text='Separated by commas, such as enterprise; empty: every segment.', max_length=500)),
                ('capacity', models.PositiveSmallIntegerField(default=10, help_text='Onboardings at a time.', validators=[django.core.validators.MinValueValidator(1)])),
                ('active', models.BooleanField(default=True, help_text='Gets new onboardings.')),
            ],
            options={
                'ordering': ['name', 'pk'],
            },
        ),
        migrations.CreateModel(
            name='OnboardingTransaction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('onboarding_transaction_id', models.CharField(max_length=255, unique=True)),
                ('id_key', models.CharField(editable=False, help_text='The id as it is compared (``ids.comparable``).', max_length=255, unique=True)),
                ('event_source', models.CharField(help_text="The sender's own label.", max_length=64)),
                ('origin', models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', editable=False, max_length=16)),
                ('origin_name', models.CharField(blank=True, editable=False, help_text='Of the connection, API key or person that began it.', max_length=150)),
                ('occurred_at', models.DateTimeField(help_text='When it was paid: starts the SLA clocks.')),
                ('status', django_fsm.FSMField(choices=[('queued', 'Queued'), ('awaiting-data', 'Awaiting data'), ('provisioning', 'Provisioning'), ('ready-for-kickoff', 'Ready for kickoff'), ('complete', 'Complete'), ('cancelled', 'Cancelled'), ('rolling-back', 'Rolling back'), ('rolled-back', 'Rolled back')], default='queued', max_length=50, protected=True)),
                ('gathers_until', models.DateTimeField(help_text="Until then missing data may come with the payment's other events; people are asked after it.", null=True)),
                ('snapshot_version', models.PositiveIntegerField(default=0)),
                ('customer_name', models.CharField(blank=True, max_length=255)),
                ('domain', models.CharField(blank=True, max_length=255)),
                ('contact_name', models.CharField(blank=True, max_length=255)),
                ('contact_email', models.CharField(blank=True, max_length=254)),
                ('plan_sku', models.CharField(blank=True, max_length=100)),
                ('segment', models.CharField(blank=True, max_length=64)),
                ('crm_owner_id', models.CharField(blank=True, max_length=100)),
                ('implementation_owner_id', models.CharField(blank=True, max_length=100)),
                ('held_at', models.DateTimeField(help_text='On hold since; empty: it may go on.', null=True)),
                ('held_by', models.CharField(blank=True, max_length=150)),
                ('hold_reason', models.CharField(blank=True, max_length=500)),
                ('audit_sequence', models.PositiveIntegerField(default=0, editable=False)),
                ('audit_head', models.CharField(blank=True, editable=False, max_length=64)),
                ('created_at', models.DateTimeField()),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('provisioned_at', models.DateTimeField(null=True)),
                ('completed_at', models.DateTimeField(null=True)),
                ('cancelled_at', models.DateTimeField(null=True)),
                ('cancel_reason', models.CharField(blank=True, max_length=500)),
                ('rollback_at', models.DateTimeField(help_text='When the rollback began.', null=True)),
                ('rollback_reason', models.CharField(blank=True, max_length=500)),
            ],
            options={
                'verbose_name': 'onboarding run',
                'ordering': ['-pk'],
                'permissions': [('see_personal_data', 'Can see personal data in payloads'), ('start_run', 'Can start a run by hand'), ('hold_run', 'Can hold and resume a run'), ('cancel_run', 'Can cancel a run'), ('rollback_run', 'Can roll a run back'), ('replay_run', 'Can replay a run from a step'), ('skip_step', 'Can skip a step'), ('unlink_object', 'Can unlink a wrong match'), ('resend_welcome', 'Can send the welcome again'), ('apply_change', "Can change a run's data, and decide on change requests")],
            },
        ),
        migrations.CreateModel(
            name='PinnedPlaybook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64)),
                ('version', models.CharField(max_length=32)),
                ('content_hash', models.CharField(max_length=64, unique=True)),
                ('definition', models.JSONField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name='PlanPrice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('price_id', models.CharField(max_length=255, unique=True)),
                ('plan_sku', models.CharField(max_length=100)),
                ('term', models.CharField(blank=True, max_length=50)),
            ],
            options={
                'ordering': ['price_id'],
            },
        ),
        migrations.CreateModel(
            name='Step',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=64)),
                ('uses', models.CharField(help_text="The handler's name.", max_length=64)),
                ('system', models.CharField(choices=[('billing', 'Billing'), ('esign', 'E-signature'), ('crm', 'CRM'), ('erp', 'ERP'), ('delivery', 'Delivery'), ('support', 'Support'), ('identity', 'Identity'), ('product', 'Product'), ('scheduling', 'Scheduling'), ('email', 'Email'), ('chat', 'Chat'), ('workflow', 'Workflow')], max_length=16)),
                ('queue', models.CharField(blank=True, max_length=32)),
                ('after', models.JSONField(default=list, help_text='Keys of the steps that must be done before.')),
                ('position', models.PositiveSmallIntegerField()),
                ('options', models.JSONField(default=dict, help_text='What the playbook gives the handler (``with``).')),
                ('state', django_fsm.FSMField(choices=[('pending', 'Pending'), ('running', 'Running'), ('waiting', 'Waiting'), ('blocked', 'Blocked'), ('succeeded', 'Succeeded'), ('skipped', 'Skipped'), ('compensating', 'Compensating'), ('compensated', 'Compensated')], default='pending', max_length=50, protected=True)),
                ('waits_for', models.CharField(blank=True, choices=[('', 'Nothing'), ('retry', 'A retry'), ('hold-off', "The vendor's search to catch up"), ('job', 'A job at the vendor'), ('reservation', 'Another run of this customer'), ('event', 'Somebody to do it, or to tell us that it is done'), ('slot', 'A free slot at the vendor'), ('connection', 'The connection')], max_length=16)),
                ('due_at', models.DateTimeField(help_text='When the engine may claim it next; empty: not before something happens.', null=True)),
                ('enqueued_until', models.DateTimeField(help_text='A message for it is in the broker; until then the sweep publishes no other.', null=True)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('first_failed_at', models.DateTimeField(null=True)),
                ('token', models.PositiveIntegerField(default=0, help_text='Fencing token: rises with each claim.')),
                ('lease_until', models.DateTimeField(null=True)),
                ('send_by', models.DateTimeField(help_text='After this the holder sends no more writes.', null=True)),
                ('category', models.CharField(blank=True, choices=[('missing-data', 'Missing data'), ('ambiguous-match', 'Ambiguous match'), ('rate-limit', 'Rate limit'), ('server-error', 'Server error'), ('auth-error', 'Authentication error'), ('validation-error', 'Validation error'), ('not-configured', 'Not configured'), ('unknown-outcome', 'Unknown outcome'), ('approval-overdue', 'Decision due'), ('stalled', 'Stalled'), ('rollback-failed', 'Rollback failed'), ('internal-error', 'Internal error')], max_length=32)),
                ('message', models.TextField(blank=True)),
                ('http_status', models.PositiveSmallIntegerField(null=True)),
                ('problems', models.JSONField(default=list, help_text='Fields to fix: [{path, reason}].')),
                ('candidates', models.JSONField(default=list, help_text='Objects to choose from: [{external_id, label, url, evidence}].')),
                ('item', models.CharField(blank=True, help_text='The item in hand, of a step that makes several objects.', max_length=64)),
                ('round', models.PositiveSmallIntegerField(default=0, help_text='How often it was deliberately done anew, such as a welcome sent again.')),
                ('written', models.CharField(blank=True, help_text='Digest of what an updating step last wrote at the vendor.', max_length=64)),
                ('skip_reason', models.CharField(blank=True, max_length=500)),
                ('forced', models.BooleanField(default=False, help_text='A person forced the rollback: its objects are removed though they were changed since.')),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('connection', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='integrations.connection')),
            ],
            options={
                'ordering': ['transaction', 'position'],
            },
        ),
        migrations.CreateModel(
            name='AuditFinding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.CharField(max_length=1000)),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('found_at', models.DateTimeField()),
                ('transaction', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='audit_findings', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='PaymentTrace',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('held_until', models.DateTimeField(null=True)),
                ('starts_nothing', models.BooleanField(default=False, help_text='A renewal: whatever else tells of this payment starts nothing either.')),
                ('subscription', models.CharField(blank=True, max_length=255)),
                ('customer_name', models.CharField(blank=True, help_text="The company's name, where only the billing system's customer is called so: perhaps it is the payer's.", max_length=255)),
                ('customer', models.CharField(blank=True, max_length=255)),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=5)),
                ('occurred_at', models.DateTimeField()),
                ('paired', models.BooleanField(default=False, help_text='It was joined by customer and amount, not by an id.')),
                ('object_digests', models.JSONField(default=dict, help_text="The vendor's object id -> digest of what it last told us.")),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='payment_traces', to='integrations.connection')),
                ('dismissed_event', models.ForeignKey(help_text='The event of a renewal: looked at again where its subscription proves to have begun here.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='integrations.inboundevent')),
                ('held_event', models.OneToOneField(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='payment_trace', to='integrations.inboundevent')),
                ('transaction', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='payment_traces', to='onboarding.onboardingtransaction')),
            ],
        ),
        migrations.CreateModel(
            name='PaymentTraceKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=64)),
                ('value', models.CharField(max_length=255)),
                ('trace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='keys', to='onboarding.paymenttrace')),
            ],
        ),
        migrations.AddField(
            model_name='onboardingtransaction',
            name='playbook',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to='onboarding.pinnedplaybook'),
        ),
        migrations.CreateModel(
            name='RejectedMatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=32)),
                ('match_key', models.CharField(max_length=300)),
                ('external_id', models.CharField(max_length=255)),
                ('rejected_by', models.CharField(max_length=150)),
                ('reason', models.CharField(max_length=500)),
                ('rejected_at', models.DateTimeField()),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='integrations.connection')),
            ],
        ),
        migrations.CreateModel(
            name='RunEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('type', models.CharField(choices=[('kickoff.scheduled', 'The kickoff is scheduled'), ('payment.refunded', 'The payment was refunded')], max_length=64)),
                ('event_id', models.CharField(max_length=255)),
                ('occurred_at', models.DateTimeField()),
                ('data', models.JSONField(default=dict)),
                ('actor', models.CharField(max_length=150)),
                ('received_at', models.DateTimeField()),
                ('transaction', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='StepPoll',
            fields=[
                ('step', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='poll', serialize=False, to='onboarding.step')),
                ('count', models.PositiveIntegerField(default=0)),
                ('last_at', models.DateTimeField(null=True)),
                ('due_at', models.DateTimeField(help_text='Empty: nothing is awaited any more.', null=True)),
                ('enqueued_until', models.DateTimeField(help_text='Until then a message to poll it is in the broker.', null=True)),
            ],
        ),
        migrations.AddField(
            model_name='step',
            name='transaction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='onboarding.onboardingtransaction'),
        ),
        migrations.AddField(
            model_name='step',
            name='waits_on',
            field=models.ForeignKey(db_index=False, help_text='The step that holds the reservation of a shared object.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='onboarding.step'),
        ),
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=32)),
                ('match_key', models.CharField(max_length=300)),
                ('external_id', models.CharField(blank=True, help_text='Set once the object is known.', max_length=255)),
                ('url', models.URLField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField()),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='integrations.connection')),
                ('holder', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='reservations', to='onboarding.step')),
            ],
        ),
        migrations.CreateModel(
            name='ObjectMapping',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('item', models.CharField(blank=True, default='', max_length=64)),
                ('kind', models.CharField(max_length=32)),
                ('external_id', models.CharField(max_length=255)),
                ('url', models.URLField(blank=True, max_length=500)),
                ('created_by_us', models.BooleanField()),
                ('how', models.CharField(help_text='created, or what it was matched by.', max_length=64)),
                ('created_at', models.DateTimeField()),
                ('changed_since', models.BooleanField(default=False, help_text='Somebody had changed it when the rollback was asked for: a person is asked first.')),
                ('state', models.JSONField(help_text='What the payload said of it when it was made, linked or last updated: only what differs is written.', null=True)),
                ('identity', models.CharField(blank=True, help_text='What the payload called it by, where another name means another object.', max_length=255)),
                ('connection', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='integrations.connection')),
                ('transaction', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='mappings', to='onboarding.onboardingtransaction')),
                ('step', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mappings', to='onboarding.step')),
            ],
        ),
        migrations.CreateModel(
            name='Intent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('item', models.CharField(blank=True, default='', max_length=64)),
                ('reference', models.CharField(max_length=255)),
                ('params', models.JSONField()),
                ('request_hash', models.CharField(max_length=64)),
                ('state', models.CharField(choices=[('indeterminate', 'Indeterminate'), ('accepted', 'Accepted'), ('no-effect', 'No effect'), ('done', 'Done')], default='indeterminate', max_length=16)),
                ('token', models.PositiveIntegerField(help_text='The claim that last held it.')),
                ('send_by', models.DateTimeField(help_text='After this its holder sends nothing.')),
                ('indeterminate_since', models.DateTimeField(help_text='When the outcome was first found to be indeterminate.', null=True)),
                ('job_id', models.CharField(blank=True, max_length=255)),
                ('job_started_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField()),
                ('transaction', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='intents', to='onboarding.onboardingtransaction')),
                ('step', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='intents', to='onboarding.step')),
            ],
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token', models.PositiveIntegerField()),
                ('started_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField(null=True)),
                ('outcome', models.CharField(blank=True, max_length=32)),
                ('category', models.CharField(blank=True, max_length=32)),
                ('message', models.TextField(blank=True)),
                ('http_status', models.PositiveSmallIntegerField(null=True)),
                ('step', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempt_rows', to='onboarding.step')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='UnmatchedEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=64)),
                ('value', models.CharField(max_length=255)),
                ('type', models.CharField(choices=[('kickoff.scheduled', 'The kickoff is scheduled'), ('payment.refunded', 'The payment was refunded')], max_length=64)),
                ('event_id', models.CharField(max_length=255)),
                ('occurred_at', models.DateTimeField()),
                ('data', models.JSONField(default=dict)),
                ('actor', models.CharField(max_length=150)),
                ('received_at', models.DateTimeField()),
                ('state', django_fsm.FSMField(choices=[('waiting', 'Waiting for its run'), ('applied', 'Applied'), ('expired', 'Its run never came')], default='waiting', max_length=50, protected=True)),
                ('expires_at', models.DateTimeField(help_text='Until then its run is expected.')),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('inbound_event', models.ForeignKey(help_text='Empty: it came by REST.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='unmatched', to='integrations.inboundevent')),
                ('transaction', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='unmatched_events', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='BillingSubscription',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subscription', models.CharField(max_length=255)),
                ('customer', models.CharField(blank=True, max_length=255)),
                ('began_here', models.BooleanField(default=False, help_text='It began after Firstvalue listened: what settles it first is its first payment.')),
                ('free_bill_seen', models.BooleanField(default=False, help_text='It had a bill with nothing to pay.')),
                ('trial_end', models.DateTimeField(null=True)),
                ('settled_by', models.CharField(blank=True, help_text='The invoice, or session without one, that settled it first here.', max_length=255)),
                ('settled_at', models.DateTimeField(null=True)),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='subscriptions', to='integrations.connection')),
            ],
            options={
                'indexes': [models.Index(fields=['connection', 'customer'], name='billing_subscription_customer')],
                'constraints': [models.UniqueConstraint(fields=('connection', 'subscription'), name='billing_subscription_once')],
            },
        ),
        migrations.CreateModel(
            name='InvoicePaymentLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('payment', models.CharField(max_length=255)),
                ('invoice', models.CharField(max_length=255)),
                ('guessed', models.BooleanField(default=False, help_text='By customer and amounts, and not by an id.')),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='invoice_payments', to='integrations.connection')),
            ],
            options={
                'indexes': [models.Index(fields=['connection', 'invoice'], name='invoice_payment_link_invoice')],
                'constraints': [models.UniqueConstraint(fields=('connection', 'payment'), name='invoice_payment_link_once')],
            },
        ),
        migrations.CreateModel(
            name='MatchChoice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=32)),
                ('match_key', models.CharField(max_length=300)),
                ('external_id', models.CharField(blank=True, help_text='Empty: create a new one.', max_length=255)),
                ('chosen_by', models.CharField(max_length=150)),
                ('chosen_at', models.DateTimeField()),
                ('connection', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='integrations.connection')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('connection', 'kind', 'match_key'), name='match_choice_once')],
            },
        ),
        migrations.CreateModel(
            name='CorrelationKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=64)),
                ('value', models.CharField(max_length=255)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('transaction', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='correlation_keys', to='onboarding.onboardingtransaction')),
            ],
            options={
                'indexes': [models.Index(fields=['value'], name='onboarding__value_f9a7d3_idx')],
                'constraints': [models.UniqueConstraint(fields=('kind', 'value'), name='correlation_key_once')],
            },
        ),
        migrations.CreateModel(
            name='ChangeRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('origin', models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', max_length=16)),
                ('origin_name', models.CharField(blank=True, max_length=150)),
                ('source', models.CharField(blank=True, help_text="The sender's own label; empty for a person's.", max_length=64)),
                ('proposed', models.JSONField()),
                ('confirmed', models.JSONField(default=list, help_text="As a snapshot's.")),
                ('digest', models.CharField(max_length=64)),
                ('paths', models.JSONField(default=list, help_text='Payload paths that would change.')),
                ('status', django_fsm.FSMField(choices=[('open', 'Open'), ('applied', 'Applied'), ('rejected', 'Rejected'), ('superseded', 'Superseded')], default='open', max_length=50, protected=True)),
                ('created_at', models.DateTimeField()),
                ('decided_at', models.DateTimeField(null=True)),
                ('decided_by', models.CharField(blank=True, max_length=150)),
                ('reason', models.CharField(blank=True, help_text='Why it was rejected.', max_length=500)),
                ('transaction', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='change_requests', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['-pk'],
                'indexes': [models.Index(condition=models.Q(('status', 'open')), fields=['created_at'], name='change_request_open')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('status', 'open')), fields=('transaction', 'origin', 'origin_name', 'source', 'digest'), name='change_request_open_once')],
            },
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.PositiveIntegerField()),
                ('name', models.CharField(help_text='Dotted, such as onboarding.step.blocked.', max_length=64)),
                ('actor', models.CharField(help_text='Copied, so that it outlives the user.', max_length=150)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('data', models.JSONField(default=dict)),
                ('at', models.DateTimeField()),
                ('previous_hash', models.CharField(blank=True, max_length=64)),
                ('hash', models.CharField(max_length=64)),
                ('transaction', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit', to='onboarding.onboardingtransaction')),
            ],
            options={
                'verbose_name_plural': 'audit entries',
                'ordering': ['pk'],
                'constraints': [models.UniqueConstraint(fields=('transaction', 'sequence'), name='audit_sequence_once'), models.UniqueConstraint(condition=models.Q(('transaction', None)), fields=('sequence',), name='audit_elsewhere_sequence_once')],
            },
        ),
        migrations.CreateModel(
            name='ArchivedRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_sequence', models.PositiveIntegerField()),
                ('last_sequence', models.PositiveIntegerField()),
                ('head', models.CharField(max_length=64)),
                ('attempts', models.PositiveIntegerField()),
                ('calls', models.PositiveIntegerField()),
                ('offset', models.BigIntegerField()),
                ('length', models.PositiveIntegerField()),
                ('calls_offset', models.BigIntegerField()),
                ('calls_length', models.PositiveIntegerField()),
                ('batch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='parts', to='onboarding.archivebatch')),
                ('transaction', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='archived', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['pk'],
                'constraints': [models.UniqueConstraint(fields=('transaction', 'last_sequence'), name='archived_run_part_once')],
            },
        ),
        migrations.CreateModel(
            name='AcceptedContent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('origin', models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', max_length=16)),
                ('source', models.CharField(blank=True, help_text="The sender's own label.", max_length=64)),
                ('content', models.JSONField()),
                ('digest', models.CharField(max_length=64)),
                ('earlier', models.JSONField(default=list, help_text='Digests of what it told before: its redelivery is no news, and undoes nothing.')),
                ('accepted_at', models.DateTimeField()),
                ('transaction', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='accepted', to='onboarding.onboardingtransaction')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('transaction', 'origin', 'source'), name='accepted_content_once')],
            },
        ),
        migrations.CreateModel(
            name='PayloadSnapshot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField()),
                ('content', models.JSONField()),
                ('provenance', models.JSONField(default=dict, help_text='Payload path -> origin: {kind, name, label}.')),
                ('origin', models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', max_length=16)),
                ('origin_name', models.CharField(blank=True, max_length=150)),
                ('source', models.CharField(blank=True, help_text="The sender's own label.", max_length=200)),
                ('confirmed', models.JSONField(default=list, help_text='Paths whose value a person has confirmed though it looks like a placeholder.')),
                ('actor', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField()),
                ('transaction', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='snapshots', to='onboarding.onboardingtransaction')),
            ],
            options={
                'ordering': ['version'],
                'constraints': [models.UniqueConstraint(fields=('transaction', 'version'), name='snapshot_version_once')],
            },
        ),
        migrations.AddIndex(
            model_name='paymenttrace',
            index=models.Index(fields=['connection', 'customer', 'amount_minor'], name='payment_trace_soft'),
        ),
        migrations.AddIndex(
            model_name='paymenttracekey',
            index=models.Index(fields=['value', 'kind'], name='payment_trace_key_value'),
        ),
        migrations.AddConstraint(
            model_name='paymenttracekey',
            constraint=models.UniqueConstraint(fields=('trace', 'kind'), name='payment_trace_key_once'),
        ),
        migrations.AddIndex(
            model_name='onboardingtransaction',
            index=models.Index(fields=['status'], name='onboarding__status_33350a_idx'),
        ),
        migrations.AddIndex(
            model_name='onboardingtransaction',
            index=models.Index(fields=['domain'], name='onboarding__domain_9946fd_idx'),
        ),
        migrations.AddIndex(
            model_name='onboardingtransaction',
            index=models.Index(fields=['contact_email'], name='onboarding__contact_a20fc1_idx'),
        ),
        migrations.AddIndex(
            model_name='onboardingtransaction',
            index=models.Index(fields=['occurred_at'], name='onboarding__occurre_343b5e_idx'),
        ),
        migrations.AddIndex(
            model_name='onboardingtransaction',
            index=models.Index(condition=models.Q(('gathers_until__isnull', False)), fields=['gathers_until'], name='run_gathers'),
        ),
        migrations.AddConstraint(
            model_name='rejectedmatch',
            constraint=models.UniqueConstraint(fields=('connection', 'kind', 'match_key', 'external_id'), name='rejected_match_once'),
        ),
        migrations.AddConstraint(
            model_name='runevent',
            constraint=models.UniqueConstraint(fields=('transaction', 'event_id'), name='run_event_once'),
        ),
        migrations.AddIndex(
            model_name='steppoll',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='step_poll_due'),
        ),
        migrations.AddIndex(
            model_name='step',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='step_due'),
        ),
        migrations.AddIndex(
            model_name='step',
            index=models.Index(condition=models.Q(('lease_until__isnull', False)), fields=['lease_until'], name='step_leased'),
        ),
        migrations.AddIndex(
            model_name='step',
            index=models.Index(condition=models.Q(('waits_on__isnull', False)), fields=['waits_on'], name='step_waits_on'),
        ),
        migrations.AddIndex(
            model_name='step',
            index=models.Index(condition=models.Q(('finished_at__isnull', True)), fields=['connection'], name='step_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='step',
            constraint=models.UniqueConstraint(fields=('transaction', 'key'), name='step_key_once'),
        ),
        migrations.AddIndex(
            model_name='reservation',
            index=models.Index(fields=['external_id'], name='reservation_object'),
        ),
        migrations.AddConstraint(
            model_name='reservation',
            constraint=models.UniqueConstraint(fields=('connection', 'kind', 'match_key'), name='reservation_once'),
        ),
        migrations.AddIndex(
            model_name='objectmapping',
            index=models.Index(fields=['external_id'], name='onboarding__externa_e14f0d_idx'),
        ),
        migrations.AddConstraint(
            model_name='objectmapping',
            constraint=models.UniqueConstraint(fields=('transaction', 'step', 'item'), name='mapping_once'),
        ),
        migrations.AddIndex(
            model_name='intent',
            index=models.Index(condition=models.Q(('state__in', ('indeterminate', 'accepted'))), fields=['reference'], name='intent_indeterminate'),
        ),
        migrations.AddConstraint(
            model_name='intent',
            constraint=models.UniqueConstraint(fields=('transaction', 'step', 'item'), name='intent_once'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('step', 'token'), name='attempt_once'),
        ),
        migrations.AddIndex(
            model_name='unmatchedevent',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['expires_at'], name='unmatched_event_waiting'),
        ),
        migrations.AddIndex(
            model_name='unmatchedevent',
            index=models.Index(fields=['value'], name='unmatched_event_value'),
        ),
        migrations.AddConstraint(
            model_name='unmatchedevent',
            constraint=models.UniqueConstraint(fields=('kind', 'value', 'event_id'), name='unmatched_event_once'),
        ),
        migrations.RunPython(make_triggers),
        migrations.RunPython(make_heads),
    ]
