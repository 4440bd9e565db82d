"""Pinned playbooks and the price table."""

from django.db import models


class PinnedPlaybook(models.Model):
    """A playbook exactly as runs were started with it; a changed file makes a new row, never changes one."""

    name = models.CharField(max_length=64)
    version = models.CharField(max_length=32)
    content_hash = models.CharField(max_length=64, unique=True)
    definition = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class PlanPrice(models.Model):
    """Which plan and term a billing system's price stands for."""

    price_id = models.CharField(max_length=255, unique=True)
    plan_sku = models.CharField(max_length=100)
    term = models.CharField(max_length=50, blank=True)

    class Meta:
        ordering = ["price_id"]

    def __str__(self) -> str:
        return f"{self.price_id} → {self.plan_sku}"
