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
from exceptions_queue.admin.runs.actions import Button
from exceptions_queue.admin.runs.change_form import ChangeForm
from exceptions_queue.admin.runs.payloads import differences
from exceptions_queue.admin.tickets.forms import ReasonForm
from exceptions_queue.admin.ui import timeline
from exceptions_queue.admin.ui.display_names import Names
from exceptions_queue.admin.ui.effects import shown_effects
from exceptions_queue.admin.ui.safe_rows import CANNOT, each_shown
from exceptions_queue.models import Ticket
from exceptions_queue.roles import SEE_PERSONAL
from integrations.http.redaction import redact_text
from onboarding import services
from onboarding.enums import CHANGEABLE, ChangeStatus, OriginKind
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.origins import Origin
from onboarding.payload import catalogue
from onboarding.services import Effect, Outdated, Refused

LATEST = 20
PAGES = "admin/onboarding/onboardingtransaction"


def may_decide(user: Any, run: OnboardingTransaction | None = None) -> bool:
    """About this run's changes, or without one about any run's."""
    return isinstance(user, User) and roles.may(user, roles.APPLY_CHANGE, run)


def waiting() -> QuerySet[ChangeRequest]:
    """Those that somebody should look at, the oldest first."""
    found = ChangeRequest.objects.decidable()
    return found.select_related("transaction").order_by("created_at", "pk")


def waiting_for(user: User) -> QuerySet[ChangeRequest]:
    """Those that this person may decide."""
    if not (theirs := roles.of(user)):
        return waiting()
    asked = Ticket.objects.filter(roles.decisions(roles.APPLY_CHANGE), transaction=OuterRef("transaction"))
    return waiting().filter(~Exists(asked) | Exists(asked.filter(theirs)))


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
    versions = dict(run.snapshots.filter(origin=OriginKind.CHANGE).values_list("origin_name", "version"))
    before = {name: contents.get(version - 1) for name, version in versions.items()}
    return each_shown(
        found, lambda each: shown(each, before.get(str(each.pk)) or run.payload, names, may_see=may_see), _unreadable
    )


def _unreadable(change: ChangeRequest) -> dict[str, Any]:
    return {"change": change, "asked": CANNOT, "applied": change.status == ChangeStatus.APPLIED, "rows": []}


def shown(change: ChangeRequest, content: dict[str, Any], names: Names, *, may_see: bool) -> dict[str, Any]:
    """For ``changed.html``: who asked, what is different from ``content``, what became of it."""
    return {
        "change": change,
        "asked": asked_by(change, names),
        "by_person": _is_asked_by_person(change),
        "decided_by": timeline.who(change.decided_by, names) if change.decided_by else "",
        "reason": change.reason if may_see else redact_text(change.reason),
        "applied": change.status == ChangeStatus.APPLIED,
        "rows": differences(content, change.proposed, change.paths, names, may_see=may_see),
    }


def asked_by(change: ChangeRequest, names: Names) -> str:
    origin = Origin.of(change)
    if _is_asked_by_person(change):
        return f"{timeline.who(origin.name, names)} asked for this change"
    return f"Other data arrived from {timeline.came_from(origin, names)} under this transaction's id"


def _is_asked_by_person(change: ChangeRequest) -> bool:
    """At the page for it, and not as other data of a payment that was entered twice."""
    return change.origin == OriginKind.PERSON and not change.source


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
            messages.warning(request, "Not possible: the data of this run cannot be changed any more.")
            return HttpResponseRedirect(_page(pk))
        sent = request.POST if request.method == "POST" else None
        version, content = shown_version(run, sent)
        form = ChangeForm(content, sent, see_personal=_sees(request))
        status = 200
        if form.is_valid():
            actor = request.user.get_username()
            try:
                change = services.request_change(
                    run.pk, form.changes, actor=actor, confirmed=form.confirmed, version=version
                )
            except Outdated as refusal:
                run = self._run(request, pk)
                version, status = run.snapshot_version, 409
                form = form.after_conflict(run.payload)
                form.take(str(refusal), refusal.problems)
            except Refused as refusal:
                form.take(str(refusal), refusal.problems)
                status = 422
            else:
                return HttpResponseRedirect(reverse("admin:onboarding_run_decide", args=[pk, change.pk]))
        elif form.errors:
            status = 422
        context = self.admin.page_context(
            request,
            trail=_trail(run, "Change the data"),
            title="Change the data",
            run=run,
            form=form,
            version=version,
            back=_page(pk),
        )
        return TemplateResponse(request, f"{PAGES}/data.html", context, status=status)

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def decide(self, request: HttpRequest, pk: int, change: int) -> HttpResponse:
        run = self._run(request, pk)
        found = _found(run, change)
        if request.method != "POST":
            return self._ask(request, run, found)
        try:
            services.apply_change(found.pk, actor=request.user.get_username(), seen=request.POST.get("seen", ""))
        except Refused as refusal:
            return self._refused(request, run, found, refusal)
        messages.success(
            request, "The change is applied. The affected objects are being updated; their progress is below."
        )
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
            return self._refused(request, run, found, refusal, form=form)
        messages.success(request, "The change request is rejected; the run is unchanged.")
        return HttpResponseRedirect(_page(pk))

    def _refused(
        self,
        request: HttpRequest,
        run: OnboardingTransaction,
        change: ChangeRequest,
        refusal: Refused,
        *,
        form: forms.Form | None = None,
    ) -> HttpResponse:
        """The question as it stands now, with what was typed; or the run, where nothing was typed and nothing is
        left to decide.
        """
        messages.warning(request, f"{_told(refusal)} {timeline.latest_by_others(run, request.user)}".strip())
        fresh = _found(self._run(request, run.pk), change.pk)
        if fresh.status != ChangeStatus.OPEN and form is None:
            return HttpResponseRedirect(_page(run.pk))
        return self._ask(request, self._run(request, run.pk), fresh, form=form, status=409)

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
        if change.status != ChangeStatus.OPEN and form is None:
            messages.info(request, f"This change request is {change.get_status_display().lower()} already.")
            return HttpResponseRedirect(_page(run.pk))
        effects: list[Effect] = services.change_preview(change.pk)
        context = self.admin.page_context(
            request,
            trail=_trail(run, "Change request"),
            title=f"Change the data of {run.customer_name or run.onboarding_transaction_id}?",
            run=run,
            item=shown(change, run.payload, Names(), may_see=_sees(request)),
            decided=change.status != ChangeStatus.OPEN,
            changeable=run.status in CHANGEABLE and change.status == ChangeStatus.OPEN,
            begun=run.playbook is not None,
            effects=shown_effects(effects),
            seen=services.change_fingerprint(run, change, effects),
            form=form or ReasonForm(),
            back=_page(run.pk),
            own_url=reverse("admin:onboarding_run_decide", args=[run.pk, change.pk]),
            news=timeline.latest_entry_by_others(run, request.user),
        )
        return TemplateResponse(request, f"{PAGES}/decide.html", context, status=status)


def shown_version(run: OnboardingTransaction, sent: Any) -> tuple[int, dict[str, Any]]:
    """The version of the data that the form was filled from, and what it held: what was left as it was is no change."""
    given = str((sent or {}).get("version", ""))
    version = int(given) if given.isdecimal() and len(given) < 10 else run.snapshot_version  # noqa: PLR2004
    snapshot = run.snapshots.filter(version=version).first()
    return (version, snapshot.content) if snapshot else (run.snapshot_version, run.payload)


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
