"""Prices, API keys and the audit trail. Runs are shown where their tickets are known."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction as db
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from integrations import clock
from integrations.admin import ReadOnlyAdmin, json_block, stamp
from integrations.enums import System
from onboarding import audit
from onboarding.admin.audited import AuditedAdmin
from onboarding.admin.people import PersonAdmin
from onboarding.engine.runs import owner_assignment
from onboarding.enums import UnmatchedState
from onboarding.models import (
    ApiKey,
    AuditEntry,
    ImplementationOwner,
    PlanPrice,
    UnmatchedEvent,
)
from onboarding.services import correct_owner


@admin.register(PlanPrice)
class PlanPriceAdmin(AuditedAdmin, ModelAdmin):
    audited_as = "onboarding.price"
    list_display = ("price_id", "plan_sku", "term")
    search_fields = ("price_id__startswith", "plan_sku__startswith")
    list_fullwidth = True


@admin.register(ImplementationOwner)
class ImplementationOwnerAdmin(AuditedAdmin, PersonAdmin, ModelAdmin):
    """Who gets new runs. Correcting an id gives it to the open runs that have the wrong one; nothing else changes a run."""

    audited_as = "onboarding.implementation-owner"
    person_system, person_field = System.DELIVERY, "external_id"
    list_display = ("name", "external_id", "territories", "segments", "load", "active")
    list_filter = ("active",)
    search_fields = ("name__icontains", "external_id__startswith")
    list_fullwidth = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[ImplementationOwner]:
        open_runs = owner_assignment.occupying().filter(implementation_owner_id=OuterRef("external_id"))
        counted = open_runs.order_by().values("implementation_owner_id").annotate(n=Count("pk")).values("n")
        owners: QuerySet[ImplementationOwner] = super().get_queryset(request)
        return owners.annotate(open_runs=Coalesce(Subquery(counted, output_field=IntegerField()), 0))

    def save_model(self, request: HttpRequest, obj: ImplementationOwner, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        former = form.initial.get("external_id")
        if change and former and former != obj.external_id:
            db.on_commit(partial(_correct, request, former, obj.external_id), robust=True)

    @admin.display(description="Onboardings now", ordering="open_runs")
    def load(self, owner: ImplementationOwner) -> str:
        return f"{getattr(owner, 'open_runs', 0)} of {owner.capacity}"


def _correct(request: HttpRequest, former_id: str, right_id: str) -> None:
    """After the form's transaction: one run is locked at a time."""
    corrected = correct_owner(former_id, right_id, actor=request.user.get_username())
    if corrected:
        runs = "1 open run has" if corrected == 1 else f"{corrected} open runs have"
        messages.success(request, f"{runs} the corrected owner; what was refused is tried again.")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys are made by ``manage.py create_api_key``, which shows them once; here they are revoked."""

    list_display = ("name", "prefix", "scope", "state")
    fields = ("name", "prefix", "scope", "fills", "created_at", "revoked_at")
    change_form_outer_after_template = "admin/onboarding/apikey/revoke.html"

    @admin.display(description="State", ordering="revoked_at")
    def state(self, key: ApiKey) -> str:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "valid"

    def get_urls(self) -> list[URLPattern]:
        revoke = path("<int:pk>/revoke/", self.admin_site.admin_view(self.revoke_view), name="onboarding_apikey_revoke")
        return [revoke, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        more = {"may_revoke": request.user.has_perm("onboarding.change_apikey"), **(extra_context or {})}
        answer: HttpResponse = super().change_view(request, object_id, form_url, more)
        return answer

    @method_decorator(require_POST)
    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not request.user.has_perm("onboarding.change_apikey"):
            raise PermissionDenied
        with db.atomic():
            revoked = ApiKey.objects.filter(pk=pk, revoked_at=None).update(revoked_at=clock.now())
            if revoked:
                data = {"key": pk, "name": ApiKey.objects.get(pk=pk).name}
                audit.record_global("onboarding.api-key.revoked", actor=request.user.get_username(), data=data)
        if revoked:
            messages.success(request, "The key is revoked: it opens nothing from now on.")
        else:
            messages.warning(request, "Not done: this key is revoked already, or gone.")
        return HttpResponseRedirect(reverse("admin:onboarding_apikey_changelist"))


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("written", "name", "run", "actor", "facts")
    list_select_related = ("transaction",)
    list_display_links = ("written",)
    ordering = ("-pk",)
    search_fields = ("transaction__onboarding_transaction_id__startswith", "name__startswith", "actor__startswith")
    search_help_text = "Transaction id, name of the entry, or actor; archived entries are on their run's page"
    fields = ("written", "name", "transaction", "sequence", "actor", "request_id", "details", "previous_hash", "hash")
    readonly_fields = ("written", "details")

    @admin.display(description="At (UTC)", ordering="pk")
    def written(self, entry: AuditEntry) -> SafeString | str:
        return stamp(entry.at)

    @admin.display(description="Run")
    def run(self, entry: AuditEntry) -> str:
        return entry.transaction.onboarding_transaction_id if entry.transaction else "—"

    @admin.display(description="Facts")
    def facts(self, entry: AuditEntry) -> str:
        return ", ".join(f"{key}: {value}" for key, value in entry.data.items())[:120]

    @admin.display(description="Data")
    def details(self, entry: AuditEntry) -> SafeString:
        return json_block(entry.data)


@admin.register(UnmatchedEvent)
class UnmatchedEventAdmin(ReadOnlyAdmin):
    """Later events that came before their run. One that came by webhook has a row for each key that may name its run."""

    list_display = ("came", "type", "about", "status", "until", "run")
    list_select_related = ("transaction",)
    list_display_links = ("came",)
    list_filter = ("state",)
    search_fields = ("value__startswith", "event_id__startswith")
    search_help_text = "The run's id, the payment's id at the billing system, or the event's id"
    fields = ("came", "type", "event_id", "about", "status", "until", "run", "reason", "actor", "details")
    readonly_fields = ("came", "about", "status", "until", "run", "details")

    @admin.display(description="At (UTC)", ordering="received_at")
    def came(self, event: UnmatchedEvent) -> SafeString | str:
        return stamp(event.received_at)

    @admin.display(description="About", ordering="value")
    def about(self, event: UnmatchedEvent) -> str:
        return event.value

    @admin.display(description="State", ordering="state")
    def status(self, event: UnmatchedEvent) -> SafeString:
        tones = {UnmatchedState.APPLIED: "ok", UnmatchedState.EXPIRED: "bad"}
        tone = tones.get(UnmatchedState(event.state), "info")
        return format_html('<span class="fv-badge fv-badge--{}">{}</span>', tone, event.get_state_display())

    @admin.display(description="Its run is expected until (UTC)", ordering="expires_at")
    def until(self, event: UnmatchedEvent) -> SafeString | str:
        return stamp(event.expires_at)

    @admin.display(description="Run")
    def run(self, event: UnmatchedEvent) -> SafeString | str:
        if event.transaction is None:
            return "—"
        page = reverse("admin:onboarding_onboardingtransaction_change", args=[event.transaction.pk])
        return format_html('<a href="{}">{}</a>', page, event.transaction)

    @admin.display(description="Data")
    def details(self, event: UnmatchedEvent) -> SafeString:
        return json_block(event.data)
