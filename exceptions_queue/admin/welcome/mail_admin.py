"""The list of scheduled mails, and the page of the preview."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from exceptions_queue.admin.ui import badges
from exceptions_queue.admin.ui.display_names import Names
from exceptions_queue.admin.welcome import preview, rows
from exceptions_queue.roles import SEE_PERSONAL
from integrations.admin import ReadOnlyAdmin
from onboarding.models import OnboardingTransaction, ScheduledMail

RUNS = "onboarding.view_onboardingtransaction"
TEMPLATE = "admin/onboarding/scheduledmail/preview.html"


@admin.register(ScheduledMail)
class ScheduledMailAdmin(ReadOnlyAdmin):
    list_name = "Welcome mails"
    list_display = ("customer", "mail", "planned", "status", "explained")
    list_display_links = None
    list_select_related = ("transaction",)
    list_filter = (("state", ChoicesDropdownFilter), ("stop_cause", ChoicesDropdownFilter))
    ordering = ("-pk",)
    search_fields = ("transaction__onboarding_transaction_id__exact", "transaction__customer_name__startswith")
    search_help_text = "Customer, transaction id"

    def get_urls(self) -> list[URLPattern]:
        shown = self.admin_site.admin_view(self.preview_view)
        return [path("preview/", shown, name="onboarding_scheduledmail_preview"), *super().get_urls()]

    @admin.display(description="Customer", ordering="transaction__customer_name")
    def customer(self, mail: ScheduledMail) -> SafeString:
        run = mail.transaction
        url = reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk])
        name = run.customer_name or run.onboarding_transaction_id
        return format_html('<a class="fv-link" href="{}#welcome-mails">{}</a>', url, name)

    @admin.display(description="Mail")
    def mail(self, mail: ScheduledMail) -> SafeString:
        language = f", {mail.language}" if mail.language else ""
        return badges.two_lines(rows.named(mail.key), f"{mail.sequence}{language}")

    @admin.display(description="Scheduled for (UTC)", ordering="scheduled_for")
    def planned(self, mail: ScheduledMail) -> SafeString:
        return badges.two_lines(f"{mail.scheduled_for:%a %Y-%m-%d %H:%M}", badges.when(mail.scheduled_for))

    @admin.display(description="State", ordering="state")
    def status(self, mail: ScheduledMail) -> SafeString:
        return rows.state(mail, mail.transaction)

    @admin.display(description="Why")
    def explained(self, mail: ScheduledMail) -> str:
        return rows.why(mail, mail.transaction, Names(), may_see=False) or "—"

    @method_decorator(require_GET)
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not isinstance(user, User) or not self.has_view_permission(request) or not user.has_perm(RUNS):
            raise PermissionDenied
        form = preview.Choice(request.GET)
        form.is_valid()
        asked: dict[str, str] = form.cleaned_data
        newest = list(OnboardingTransaction.objects.order_by("-pk")[: preview.NEWEST])
        run, unknown = _run(asked.get("run", "").strip(), newest)
        shown: dict[str, Any] = preview.context(run, asked, may_see=user.has_perm(SEE_PERSONAL)) if run else {}
        title = "Preview of the welcome mails"
        page = self.page_context(
            request, trail=[("Preview", "")], title=title, form=form, newest=newest, unknown=unknown, **shown
        )
        return TemplateResponse(request, TEMPLATE, page, status=404 if unknown else 200)


def _run(asked: str, newest: list[OnboardingTransaction]) -> tuple[OnboardingTransaction | None, str]:
    """The run of that id, or without one the newest run; and the id where there is no such run."""
    if not asked:
        return next(iter(newest), None), ""
    found = OnboardingTransaction.objects.called(asked).first()
    return found, "" if found else asked
