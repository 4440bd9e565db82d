"""What was moved out of the hot tables into files: which files there are, and where in them each run's rows stand."""

from django.db import models

from onboarding.models.transaction import OnboardingTransaction


class ArchiveBatch(models.Model):
    """Some runs that ended in one month, moved together: a file with audit entries and attempts, and one with calls.

    Its row is committed before a file is begun, so that what a killed pass leaves is known; ``written_at`` is set in the
    transaction that deletes the rows.
    """

    name = models.CharField(max_length=64, unique=True, help_text="Path of its files in ARCHIVE_DIR, without ending.")
    month = models.CharField(max_length=7, help_text="In which its runs ended, such as 2026-08.")
    written_at = models.DateTimeField(null=True, help_text="Empty: it is being written, or was cut off.")
    runs = models.PositiveIntegerField(default=0)
    entries = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    calls = models.PositiveIntegerField(default=0)
    trail_sha256 = models.CharField(max_length=64, blank=True)
    trail_bytes = models.BigIntegerField(default=0)
    calls_sha256 = models.CharField(max_length=64, blank=True)
    calls_bytes = models.BigIntegerField(default=0)
    newest_call_at = models.DateTimeField(null=True)
    calls_removed_at = models.DateTimeField(null=True, help_text="When the file with its calls was deleted: retention.")

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "archive batches"

    def __str__(self) -> str:
        return self.name

    @property
    def trail_file(self) -> str:
        return f"{self.name}.trail.jsonl.gz"

    @property
    def calls_file(self) -> str:
        return f"{self.name}.calls.jsonl.gz"


class ArchivedRun(models.Model):
    """A part of a run's story that is archived: its audit entries from ``first_sequence`` to ``last_sequence``, and with them
    its attempts and calls. What happens to the run later continues its chain from ``head``.

    The database lets an audit entry be deleted only where such a row covers it. ``offset`` and ``length`` (bytes) are those
    of the run's own gzip member in each file.
    """

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.PROTECT, related_name="archived", db_index=False
    )
    batch = models.ForeignKey(ArchiveBatch, on_delete=models.PROTECT, related_name="parts")
    first_sequence = models.PositiveIntegerField()
    last_sequence = models.PositiveIntegerField()
    head = models.CharField(max_length=64)
    attempts = models.PositiveIntegerField()
    calls = models.PositiveIntegerField()
    offset = models.BigIntegerField()
    length = models.PositiveIntegerField()
    calls_offset = models.BigIntegerField()
    calls_length = models.PositiveIntegerField()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["transaction", "last_sequence"], name="archived_run_part_once")]

    def __str__(self) -> str:
        return f"{self.transaction_id}: {self.first_sequence} to {self.last_sequence}"

    @property
    def entries(self) -> int:
        return self.last_sequence - self.first_sequence + 1
