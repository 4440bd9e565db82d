"""Prices, API keys and the audit trail. Runs are shown where their tickets are known."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction as db
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from integrations import clock
from integrations.admin import ReadOnlyAdmin, json_block, stamp
from onboarding import audit
from onboarding.audited_admin import AuditedAdmin
from onboarding.engine import assignment
from onboarding.models import ApiKey, AuditEntry, ImplementationOwner, PlanPrice


@admin.register(PlanPrice)
class PlanPriceAdmin(AuditedAdmin, ModelAdmin):
    audited_as = "onboarding.price"
    list_display = ("price_id", "plan_sku", "term")
    search_fields = ("price_id__startswith", "plan_sku__startswith")
    list_fullwidth = True


@admin.register(ImplementationOwner)
class ImplementationOwnerAdmin(AuditedAdmin, ModelAdmin):
    """Who gets new runs. Changing a row changes no run that has its owner already."""

    audited_as = "onboarding.implementation-owner"
    list_display = ("name", "external_id", "territories", "segments", "load", "active")
    list_filter = ("active",)
    search_fields = ("name__icontains", "external_id__startswith")
    list_fullwidth = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[ImplementationOwner]:
        open_runs = assignment.occupying().filter(implementation_owner_id=OuterRef("external_id"))
        counted = open_runs.order_by().values("implementation_owner_id").annotate(n=Count("pk")).values("n")
        owners: QuerySet[ImplementationOwner] = super().get_queryset(request)
        return owners.annotate(open_runs=Coalesce(Subquery(counted, output_field=IntegerField()), 0))

    @admin.display(description="Onboardings now", ordering="open_runs")
    def load(self, owner: ImplementationOwner) -> str:
        return f"{getattr(owner, 'open_runs', 0)} of {owner.capacity}"


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys are made by ``manage.py create_api_key``, which shows them once; here they are revoked."""

    list_display = ("name", "prefix", "scope", "state")
    fields = ("name", "prefix", "scope", "created_at", "revoked_at")
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
                audit.record_elsewhere("onboarding.api-key.revoked", actor=request.user.get_username(), data=data)
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
    search_help_text = "Transaction id, name of the entry, or actor"
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
