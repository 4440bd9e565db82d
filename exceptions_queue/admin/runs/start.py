"""Starting a run by hand: a bank transfer, an order by mail. The same intake as for every other source."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from exceptions_queue import roles
from exceptions_queue.admin.runs.start_form import ID, StartForm
from integrations.admin import ReadOnlyAdmin
from onboarding.enums import OriginKind, Status
from onboarding.intake import service
from onboarding.intake.service import Receipt, Verdict
from onboarding.models import OnboardingTransaction
from onboarding.origins import Sender
from onboarding.payload import catalogue
from onboarding.playbooks.requirements import problems_of

START = "onboarding.start_run"
TEMPLATE = "admin/onboarding/onboardingtransaction/start.html"
OTHER_DATA = (
    "A run with this transaction id is there already, with other data. Nothing was changed; what you entered is kept as a "
    "change request below. Another payment needs a transaction id of its own."
)


class StartByHand(ReadOnlyAdmin):
    """Mixed into the runs' admin: a page of its own, reached from the list."""

    def get_urls(self) -> list[URLPattern]:
        start = path("start/", self.admin_site.admin_view(self.start_view), name="onboarding_run_start")
        return [start, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {"may_start": may_start(request), **(extra_context or {})}
        answer: HttpResponse = super().changelist_view(request, more)
        return answer

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def start_view(self, request: HttpRequest) -> HttpResponse:
        if not may_start(request) or not self.has_view_permission(request):
            raise PermissionDenied
        form = StartForm(request.POST if request.method == "POST" else None)
        if form.is_valid() and (others := _claimed_by_other_run(request, form.event.content)):
            form.add_error(ID, others)
        elif form.is_valid():
            event = form.event
            name = request.user.get_username()
            receipt = service.accept(
                event.content,
                actor=name,
                sender=Sender(OriginKind.PERSON, name),
                occurred_at=event.occurred_at,
                confirmed=form.confirmed,
            )
            messages.add_message(request, *told(receipt))
            page = reverse("admin:onboarding_onboardingtransaction_change", args=[receipt.run.pk])
            return HttpResponseRedirect(page)
        shown = self.page_context(request, trail=[("Start a run", "")], title="Start a run", form=form)
        return TemplateResponse(request, TEMPLATE, shown, status=422 if form.errors else 200)


def may_start(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.has_perm(START)


def _claimed_by_other_run(request: HttpRequest, content: dict[str, Any]) -> str:
    """Why this person may not fill in or change the run that has the id already; empty where they may, or there is none."""
    run = OnboardingTransaction.objects.called(content[ID]).first()
    if run is None or (isinstance(request.user, User) and roles.may(request.user, roles.APPLY_CHANGE, run)):
        return ""
    return "A run with this id waits for another queue's decision; another payment needs its own id."


def told(receipt: Receipt) -> tuple[int, str]:
    """What came of it: the message's level and sentence."""
    match receipt.verdict:
        case Verdict.CREATED:
            return messages.SUCCESS, f"The run is started. {_next(receipt.run)}".strip()
        case Verdict.FILLED:
            return messages.SUCCESS, f"This run existed; the missing data is filled in. {_next(receipt.run)}".strip()
        case Verdict.REPLAYED:
            return (
                messages.INFO,
                "This run existed with the same data. Nothing was changed or started twice.",
            )
        case Verdict.CHANGE_REQUESTED:
            return messages.WARNING, OTHER_DATA


def _next(run: OnboardingTransaction) -> str:
    missing = catalogue.labels(problem.path for problem in problems_of(run))
    if run.status == Status.AWAITING_DATA:
        return f"It waits for: {missing}. Sales operations was asked with a ticket."
    if run.status == Status.QUEUED and missing:
        return f"The CRM is asked first for what is missing ({missing}); Sales operations is asked for the rest."
    return "Provisioning continues."
