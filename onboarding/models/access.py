"""API keys, hashed at rest."""

from django.db import models

from onboarding.enums import Scope


class ApiKey(models.Model):
    """A bearer key. Only its SHA-256 is kept: 256 random bits need no slow hash."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, help_text="The key's first characters, to recognise it by.")
    digest = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=16, choices=Scope)
    fills = models.JSONField(
        default=list,
        blank=True,
        help_text="Sources (connections, API keys) whose runs this key may fill in and read, beside those that it began.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
