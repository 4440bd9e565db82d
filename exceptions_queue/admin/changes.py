"""Changed data at the console: what was asked for, what each step would do, and the decision; and a form to ask for a change."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods, require_POST

from exceptions_queue import roles
from exceptions_queue.admin import timeline
from exceptions_queue.admin.change_form import ChangeForm
from exceptions_queue.admin.effects import shown_effects
from exceptions_queue.admin.names import Names
from exceptions_queue.admin.payloads import differences
from exceptions_queue.admin.run_actions import Button, fingerprint
from exceptions_queue.admin.ticket_forms import ReasonForm
from exceptions_queue.admin.ticket_page import SEE_PERSONAL
from exceptions_queue.models import Ticket
from integrations.redact import redact_text
from onboarding import services
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload import catalogue
from onboarding.payload.change_requests import BY_PERSON
from onboarding.services import Effect, Refused
from onboarding.services.changes import CHANGEABLE
from onboarding.words import ChangeStatus

LATEST = 20
PAGES = "admin/onboarding/onboardingtransaction"


def may_decide(user: Any, run: OnboardingTransaction | None = None) -> bool:
    """About this run's changes, or without one about any run's."""
    return isinstance(user, User) and roles.may(user, roles.APPLY_CHANGE, run)


def waiting() -> QuerySet[ChangeRequest]:
    """Those that somebody should look at, the oldest first."""
    found = ChangeRequest.objects.filter(status=ChangeStatus.OPEN, transaction__status__in=CHANGEABLE)
    return found.select_related("transaction").order_by("created_at", "pk")


def waiting_for(user: User) -> QuerySet[ChangeRequest]:
    """Those that this person may decide."""
    if not (theirs := roles.of(user)):
        return waiting()
    asked = Ticket.objects.filter(roles.decisions(roles.APPLY_CHANGE), transaction=OuterRef("transaction"))
    return waiting().exclude(Exists(asked.exclude(theirs)))


def buttons(run: OnboardingTransaction, user: User) -> list[Button]:
    if run.status not in CHANGEABLE or not may_decide(user, run):
        return []
    return [Button("Change the data", "edit_note", reverse("admin:onboarding_run_data", args=[run.pk]))]


def latest(run: OnboardingTransaction, names: Names, *, may_see: bool) -> list[dict[str, Any]]:
    """The run's change requests, newest first; applied ones beside the data as it was before."""
    found = list(run.change_requests.all()[:LATEST])
    if not found:
        return []
    contents = {snapshot.version: snapshot.content for snapshot in run.snapshots.all()}
    versions = dict(run.snapshots.filter(source__startswith="change:").values_list("source", "version"))
    now = contents[run.snapshot_version]
    before = {source: contents[version - 1] for source, version in versions.items()}
    return [shown(each, before.get(f"change:{each.pk}", now), names, may_see=may_see) for each in found]


def shown(change: ChangeRequest, content: dict[str, Any], names: Names, *, may_see: bool) -> dict[str, Any]:
    """For ``changed.html``: who asked, what is different from ``content``, what became of it."""
    return {
        "change": change,
        "asked": asked_by(change, names),
        "by_person": change.source.startswith(BY_PERSON),
        "decided_by": timeline.who(change.decided_by, names) if change.decided_by else "",
        "reason": change.reason if may_see else redact_text(change.reason),
        "applied": change.status == ChangeStatus.APPLIED,
        "rows": differences(content, change.proposed, change.paths, names, may_see=may_see),
    }


def asked_by(change: ChangeRequest, names: Names) -> str:
    if change.source.startswith(BY_PERSON):
        return f"{timeline.who(change.source.removeprefix(BY_PERSON), names)} asked for this change"
    return f"Other data arrived from {change.source} under this transaction's id"


class Views:
    """The run admin's pages about changes. ``admin`` is the RunAdmin: it says who may see the run, and dresses the page."""

    def __init__(self, admin: Any) -> None:
        self.admin = admin

    def urls(self) -> list[URLPattern]:
        wrap = self.admin.admin_site.admin_view
        return [
            path("<int:pk>/data/", wrap(self.data), name="onboarding_run_data"),
            path("<int:pk>/changes/<int:change>/", wrap(self.decide), name="onboarding_run_decide"),
            path("<int:pk>/changes/<int:change>/reject/", wrap(self.reject), name="onboarding_run_reject"),
        ]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def data(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for a change: nothing happens before somebody has seen what it would do, and applied it."""
        run = self._run(request, pk)
        if run.status not in CHANGEABLE:
            messages.warning(request, "Not possible: the data of this run is not changed any more.")
            return HttpResponseRedirect(_page(pk))
        sent = request.POST if request.method == "POST" else None
        form = ChangeForm(run.payload, sent, see_personal=_sees(request))
        if form.is_valid():
            try:
                change = services.request_change(run.pk, form.changes, actor=request.user.get_username())
            except Refused as refusal:
                form.take(str(refusal), refusal.problems)
            else:
                return HttpResponseRedirect(reverse("admin:onboarding_run_decide", args=[pk, change.pk]))
        context = self.admin.page_context(
            request, trail=_trail(run, "Change the data"), title="Change the data", run=run, form=form, back=_page(pk)
        )
        return TemplateResponse(request, f"{PAGES}/data.html", context, status=422 if form.errors else 200)

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def decide(self, request: HttpRequest, pk: int, change: int) -> HttpResponse:
        run = self._run(request, pk)
        found = _found(run, change)
        if request.method != "POST":
            return self._ask(request, run, found)
        if request.POST.get("seen") != fingerprint(run.pk, services.change_preview(found.pk)):
            messages.warning(request, "Not done: the run has moved since you looked. This is how it stands now.")
            return self._ask(request, run, found, status=409)
        try:
            services.apply_change(found.pk, actor=request.user.get_username())
        except Refused as refusal:
            messages.warning(request, _told(refusal))
        else:
            messages.success(request, "The change is applied. What it touches is brought up to date; watch it below.")
        return HttpResponseRedirect(_page(pk))

    @method_decorator(require_POST)
    def reject(self, request: HttpRequest, pk: int, change: int) -> HttpResponse:
        run = self._run(request, pk)
        found = _found(run, change)
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self._ask(request, run, found, form=form, status=422)
        try:
            services.reject_change(found.pk, actor=request.user.get_username(), reason=form.cleaned_data["reason"])
        except Refused as refusal:
            messages.warning(request, _told(refusal))
        else:
            messages.success(request, "The change request is rejected; the run stays as it is.")
        return HttpResponseRedirect(_page(pk))

    def _run(self, request: HttpRequest, pk: int) -> OnboardingTransaction:
        run: OnboardingTransaction = self.admin.find_run(request, pk)
        if not may_decide(request.user, run):
            raise PermissionDenied
        return run

    def _ask(
        self,
        request: HttpRequest,
        run: OnboardingTransaction,
        change: ChangeRequest,
        *,
        form: forms.Form | None = None,
        status: int = 200,
    ) -> HttpResponse:
        if change.status != ChangeStatus.OPEN:
            messages.info(request, f"This change request is {change.get_status_display().lower()} already.")
            return HttpResponseRedirect(_page(run.pk))
        effects: list[Effect] = services.change_preview(change.pk)
        context = self.admin.page_context(
            request,
            trail=_trail(run, "Change request"),
            title=f"Change the data of {run.customer_name or run.onboarding_transaction_id}?",
            run=run,
            item=shown(change, run.payload, Names(), may_see=_sees(request)),
            changeable=run.status in CHANGEABLE,
            begun=run.playbook is not None,
            effects=shown_effects(effects),
            seen=fingerprint(run.pk, effects),
            form=form or ReasonForm(),
            back=_page(run.pk),
        )
        return TemplateResponse(request, f"{PAGES}/decide.html", context, status=status)


def _found(run: OnboardingTransaction, change: int) -> ChangeRequest:
    found = run.change_requests.filter(pk=change).first()
    if found is None:
        raise Http404("There is no such change request.")
    return found


def _sees(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.has_perm(SEE_PERSONAL)


def _told(refusal: Refused) -> str:
    fields = catalogue.labels(problem.path for problem in refusal.problems if problem.path in catalogue.BY_PATH)
    return f"Not done: {refusal}{f' ({fields})' if fields else ''}"


def _trail(run: OnboardingTransaction, page: str) -> list[tuple[str, str]]:
    return [(run.customer_name or run.onboarding_transaction_id, _page(run.pk)), (page, "")]


def _page(pk: int) -> str:
    return reverse("admin:onboarding_onboardingtransaction_change", args=[pk])
