import unicodedata
from typing import Any

from django.db import migrations, models

SYSTEMS = frozenset("billing esign crm erp delivery support identity product scheduling email chat workflow".split())
BATCH = 500


def tell_origins_apart(apps: Any, schema_editor: Any) -> None:
    """What stood in one text, ours and senders' alike, as a kind of our own beside the sender's label.

    A text is a sender's where the run or one of its accepted contents names it as its source, whatever it begins with; only
    what is left over can be ours.
    """
    models_ = {name: apps.get_model("onboarding", name) for name in (
        "OnboardingTransaction", "PayloadSnapshot", "AcceptedContent", "ChangeRequest")}
    runs = models_["OnboardingTransaction"].objects.order_by("pk").prefetch_related("snapshots", "accepted", "change_requests")
    for run in runs.iterator(chunk_size=BATCH):
        snapshots = sorted(run.snapshots.all(), key=lambda each: each.version)
        accepted = list(run.accepted.all())
        senders = {run.event_source, *(each.source for each in accepted)}
        # Who first wrote under a sender's text: actors are ours.
        actors: dict[str, str] = {}
        for each in snapshots:
            if each.source in senders:
                actors.setdefault(each.source, each.actor)

        def origin_of(text: str) -> tuple[str, str, str]:
            """Kind, name and label."""
            if not isinstance(text, str) or text in senders:
                return *_sender(actors.get(text, "")), str(text)
            kind, _, name = text.partition(":")
            if text == "default":
                return "default", "", ""
            if text == "implementation owners":
                return "rule", text, ""
            if text == "enrichment":
                return "lookup", "", ""
            if text == "billing":
                return "billing-event", "", text
            if kind in ("person", "derived", "change") and name:
                return kind, name, ""
            return "lookup", kind if kind in SYSTEMS else "", text

        first = snapshots[0].actor if snapshots else ""
        run.origin, run.origin_name = _sender(first)
        run.save(update_fields=["origin", "origin_name"])
        for each in snapshots:
            each.origin, each.origin_name, each.source = origin_of(each.source)
            each.provenance = {path: _as_dict(*origin_of(text)) for path, text in each.provenance.items()}
        for each in accepted:
            each.origin = _sender(actors.get(each.source, ""))[0]
        requests = list(run.change_requests.all())
        for each in requests:
            each.origin, each.origin_name, each.source = origin_of(each.source)
        models_["PayloadSnapshot"].objects.bulk_update(
            snapshots, ["origin", "origin_name", "source", "provenance"], batch_size=BATCH
        )
        models_["AcceptedContent"].objects.bulk_update(accepted, ["origin"], batch_size=BATCH)
        models_["ChangeRequest"].objects.bulk_update(requests, ["origin", "origin_name", "source"], batch_size=BATCH)


def _sender(actor: str) -> tuple[str, str]:
    """The kind and name of an actor that sent content: ``event:stripe``, ``key:billing``, or a person or an import."""
    kind, _, name = actor.partition(":")
    return {"event": ("billing-event", name), "key": ("rest", name)}.get(kind, ("import", actor)) if name else ("import", actor)


def _as_dict(kind: str, name: str, label: str) -> dict[str, str]:
    return {key: value for key, value in {"kind": kind, "name": name, "label": label}.items() if value}


def compare_ids(apps: Any, schema_editor: Any) -> None:
    """The first of several runs whose ids differ in case alone is the one that such an id means; the others keep theirs."""
    run_model, key_model = (apps.get_model("onboarding", name) for name in ("OnboardingTransaction", "CorrelationKey"))
    taken: set[str] = set()
    for run in run_model.objects.order_by("pk").only("pk", "onboarding_transaction_id").iterator(chunk_size=BATCH):
        key = _comparable(run.onboarding_transaction_id)
        # An id holds no blank, so that this is nobody's.
        key = f"{key[:230]} {run.pk}" if key in taken else key
        taken.add(key)
        run_model.objects.filter(pk=run.pk).update(id_key=key)
    held = set(key_model.objects.filter(kind__in=("order", "deal")).values_list("kind", "value"))
    for row in key_model.objects.filter(kind__in=("order", "deal")).order_by("pk"):
        value = _comparable(row.value)
        if value != row.value and (row.kind, value) not in held:
            held.add((row.kind, value))
            key_model.objects.filter(pk=row.pk).update(value=value)


def check_constraints_now(apps: Any, schema_editor: Any) -> None:
    """PostgreSQL alters no table whose rows were updated twice in this transaction while their foreign keys wait to be checked."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _comparable(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


class Migration(migrations.Migration):

    dependencies = [
        ('onboarding', '0009_unmatched_events_and_subscriptions'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='acceptedcontent',
            name='accepted_content_once',
        ),
        migrations.RemoveConstraint(
            model_name='changerequest',
            name='change_request_open_once',
        ),
        migrations.AddField(
            model_name='acceptedcontent',
            name='origin',
            field=models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', max_length=16),
        ),
        migrations.AddField(
            model_name='apikey',
            name='fills',
            field=models.JSONField(blank=True, default=list, help_text='Sources (connections, API keys) whose runs this key may fill in and read, beside those that it began.'),
        ),
        migrations.AddField(
            model_name='changerequest',
            name='confirmed',
            field=models.JSONField(default=list, help_text="As a snapshot's."),
        ),
        migrations.AddField(
            model_name='changerequest',
            name='origin',
            field=models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', max_length=16),
        ),
        migrations.AddField(
            model_name='changerequest',
            name='origin_name',
            field=models.CharField(blank=True, max_length=150),
        ),
        migrations.AddField(
            model_name='onboardingtransaction',
            name='id_key',
            field=models.CharField(editable=False, help_text='The id as it is compared (``ids.comparable``).', max_length=255, null=True),
        ),
        migrations.AddField(
            model_name='onboardingtransaction',
            name='origin',
            field=models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', editable=False, max_length=16),
        ),
        migrations.AddField(
            model_name='onboardingtransaction',
            name='origin_name',
            field=models.CharField(blank=True, editable=False, help_text='Of the connection, API key or person that began it.', max_length=150),
        ),
        migrations.AddField(
            model_name='payloadsnapshot',
            name='confirmed',
            field=models.JSONField(default=list, help_text='Paths whose value a person has confirmed though it looks like a placeholder.'),
        ),
        migrations.AddField(
            model_name='payloadsnapshot',
            name='origin',
            field=models.CharField(choices=[('billing-event', 'Billing event'), ('rest', 'REST source'), ('import', 'Import'), ('person', 'Person'), ('lookup', 'Look-up'), ('derived', 'Derived'), ('rule', 'Rule'), ('default', 'Default'), ('change', 'Change request')], default='import', max_length=16),
        ),
        migrations.AddField(
            model_name='payloadsnapshot',
            name='origin_name',
            field=models.CharField(blank=True, max_length=150),
        ),
        migrations.AlterField(
            model_name='acceptedcontent',
            name='source',
            field=models.CharField(blank=True, help_text="The sender's own label.", max_length=64),
        ),
        migrations.AlterField(
            model_name='changerequest',
            name='source',
            field=models.CharField(blank=True, help_text="The sender's own label; empty for a person's.", max_length=64),
        ),
        migrations.AlterField(
            model_name='onboardingtransaction',
            name='event_source',
            field=models.CharField(help_text="The sender's own label.", max_length=64),
        ),
        migrations.AlterField(
            model_name='payloadsnapshot',
            name='provenance',
            field=models.JSONField(default=dict, help_text='Payload path -> origin: {kind, name, label}.'),
        ),
        migrations.AlterField(
            model_name='payloadsnapshot',
            name='source',
            field=models.CharField(blank=True, help_text="The sender's own label.", max_length=200),
        ),
        migrations.RunPython(tell_origins_apart, migrations.RunPython.noop),
        migrations.RunPython(compare_ids, migrations.RunPython.noop),
        migrations.RunPython(check_constraints_now, migrations.RunPython.noop),
        migrations.AlterField(
            model_name='onboardingtransaction',
            name='id_key',
            field=models.CharField(editable=False, help_text='The id as it is compared (``ids.comparable``).', max_length=255, unique=True),
        ),
        migrations.AddConstraint(
            model_name='acceptedcontent',
            constraint=models.UniqueConstraint(fields=('transaction', 'origin', 'source'), name='accepted_content_once'),
        ),
        migrations.AddConstraint(
            model_name='changerequest',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'open')), fields=('transaction', 'origin', 'origin_name', 'source', 'digest'), name='change_request_open_once'),
        ),
    ]
