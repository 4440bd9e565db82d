"""The audit trail: append-only, hash-chained per run, anchored in one chain over all runs."""

from django.db import models

from onboarding.models.transaction import OnboardingTransaction


class AuditEntry(models.Model):
    """Who did what to a run, with which fields (paths and keyed digests, never values).

    ``hash`` covers the entry and its predecessor's hash; the chain's head stands on the run's locked row. Entries of no
    run have one chain together, whose head is an ``AuditHead``. Database triggers refuse UPDATE and TRUNCATE, and
    DELETE of what no ``ArchivedRun`` covers.
    """

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.PROTECT, null=True, related_name="audit", db_index=False
    )
    sequence = models.PositiveIntegerField()
    name = models.CharField(max_length=64, help_text="Dotted, such as onboarding.step.blocked.")
    actor = models.CharField(max_length=150, help_text="Copied, so that it outlives the user.")
    request_id = models.CharField(max_length=64, blank=True)
    data = models.JSONField(default=dict)
    at = models.DateTimeField()
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "audit entries"
        constraints = [
            models.UniqueConstraint(fields=["transaction", "sequence"], name="audit_sequence_once"),
            # NULLs are distinct in the one above. With its condition this is an index on both databases: anything that
            # makes SQLite rebuild this table loses its triggers.
            models.UniqueConstraint(
                fields=["sequence"], condition=models.Q(transaction=None), name="audit_elsewhere_sequence_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.name}"


class AuditHead(models.Model):
    """Where a chain that has no run ends: its row is locked to append to it."""

    GLOBAL, ANCHORS = "elsewhere", "anchors"

    chain = models.CharField(max_length=16, primary_key=True)
    sequence = models.PositiveIntegerField(default=0)
    hash = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"{self.chain} {self.sequence}"


class AuditAnchor(models.Model):
    """Where the chains that had moved ended at one moment; chained to the anchor before. Append-only like the entries.

    Whoever recomputes a run's whole chain and its head is betrayed by the anchor that holds the former head; whoever
    recomputes the anchors too, by one anchor's hash that was kept elsewhere.
    """

    sequence = models.PositiveIntegerField(unique=True)
    at = models.DateTimeField()
    through = models.BigIntegerField(help_text="The last audit entry's primary key that was looked at.")
    entries = models.PositiveIntegerField(help_text="How many entries moved the chains since the anchor before.")
    heads = models.JSONField(
        help_text="[[run or null, sequence, hash], ...]; null: the chain of what belongs to no run."
    )
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["sequence"]

    def __str__(self) -> str:
        return f"anchor {self.sequence}"


class AuditFinding(models.Model):
    """Something that a verification found wrong with the trail, kept for people to look into. Once for each text."""

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, null=True, related_name="audit_findings"
    )
    text = models.CharField(max_length=1000)
    digest = models.CharField(max_length=64, unique=True)
    found_at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.text
