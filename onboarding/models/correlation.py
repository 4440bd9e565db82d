"""What ties several events of one payment to one run."""

from django.db import models

from onboarding.models.transaction import OnboardingTransaction


class CorrelationKey(models.Model):
    """One known name of a payment, such as ``stripe.invoice`` = ``in_1``: an event that carries it joins this run."""

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, related_name="correlation_keys")
    kind = models.CharField(max_length=64)
    value = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "value"], name="correlation_key_once")]
        indexes = [models.Index(fields=["value"])]

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"
