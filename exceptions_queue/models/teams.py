"""The queues that own tickets, and which of our people an owner in the CRM is."""

from django.conf import settings
from django.db import models

from onboarding.queues import QUEUES


class Queue(models.Model):
    """A team that owns tickets; its members are the users in the group of the same name."""

    slug = models.CharField(max_length=32, unique=True, choices=list(QUEUES.items()), editable=False)
    email = models.EmailField(blank=True, help_text="Where mail for the whole team goes; empty: to each member.")

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return QUEUES.get(self.slug, self.slug)


class CrmOwner(models.Model):
    """Which of our people an owner in the CRM is."""

    crm_owner_id = models.CharField("CRM owner id", max_length=100, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="crm_owner_ids")

    class Meta:
        verbose_name = "CRM owner"

    def __str__(self) -> str:
        return f"{self.crm_owner_id}: {self.user}"
