"""The sandbox page: break a vendor's stand-in, let a customer pay, and watch what Firstvalue does about it.

There is one only where the installation has a sandbox (``SANDBOX_URL``).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_POST

from exceptions_queue.admin.sandbox import page as sandbox_page
from exceptions_queue.admin.sandbox import sample_payments
from exceptions_queue.admin.sandbox.page import SandboxDown, asked
from exceptions_queue.admin.sandbox.sample_payments import NotDelivered, PayForm
from exceptions_queue.admin.sandbox.switches import BY_NAME, SWITCHES, reset_everything
from integrations.enums import vendor_name
from integrations.sandbox.payers import PAYERS
from onboarding import audit

USE = "integrations.use_sandbox"
KEPT = ("vendor", "q", "paid")
"""What the page's address says of what is looked at; every form hands it on."""
View = Callable[..., HttpResponse]


def is_here() -> bool:
    return bool(settings.SANDBOX_URL)


def guarded(view: Callable[..., HttpResponse]) -> View:
    """Hands the view a user who may use the sandbox. 404 where there is none, 403 for everybody else."""

    @wraps(view)
    def inner(request: HttpRequest, **given: Any) -> HttpResponse:
        if not is_here():
            raise Http404("This installation has no sandbox.")
        if not isinstance(request.user, User) or not request.user.has_perm(USE):
            raise PermissionDenied
        return view(request, request.user, **given)

    return inner


@require_GET
@guarded
def page(request: HttpRequest, user: User) -> HttpResponse:
    return _page(request, user)


@require_GET
@guarded
def live(request: HttpRequest, user: User) -> HttpResponse:
    html = render_to_string("admin/firstvalue/sandbox/live.html", _live(request, user), request)
    answer = JsonResponse({"html": html, "version": "", "moving": True})
    answer["Cache-Control"] = "no-store"
    return answer


@require_POST
@guarded
def switch(request: HttpRequest, user: User) -> HttpResponse:
    vendor, pulled = request.POST.get("vendor", ""), BY_NAME.get(request.POST.get("switch", ""))
    if pulled is None:
        raise Http404("There is no such switch.")

    def pull() -> str:
        asked(lambda sandbox: pulled.pull(sandbox, vendor))
        return f"{sandbox_page.label(vendor)} {pulled.done}"

    return _done(request, user, pull, {"vendor": vendor, "switch": pulled.name})


@require_POST
@guarded
def remove(request: HttpRequest, user: User) -> HttpResponse:
    rule = request.POST.get("rule", "")
    if not rule.isdecimal():
        raise Http404("There is no such rule.")

    def take_out() -> str:
        removed = asked(lambda sandbox: sandbox.clear_faults(int(rule)))
        return "The rule is removed." if removed else "The rule was gone already."

    return _done(request, user, take_out, {"removed": int(rule)})


@require_POST
@guarded
def fix(request: HttpRequest, user: User) -> HttpResponse:
    def all_of_them() -> str:
        asked(reset_everything)
        return "Every vendor works normally again. If a connection was stopped, test it on its page."

    return _done(request, user, all_of_them, {"switch": "fix-everything"})


@require_POST
@guarded
def pay(request: HttpRequest, user: User) -> HttpResponse:
    form = PayForm(request.POST)
    if not form.is_valid():
        return _page(request, user, form=form, status=422)
    try:
        payment = sample_payments.pay(form.cleaned_data)
    except NotDelivered as problem:
        form.add_error(None, str(problem))
        return _page(request, user, form=form, status=422)
    audit.record_global("integrations.sandbox.paid", actor=user.get_username(), data={"session": payment.reference})
    return _back(request, "#fv-live", paid=payment.reference, q="")  # where the page tells how it goes on


def _done(request: HttpRequest, user: User, change: Callable[[], str], data: dict[str, Any]) -> HttpResponse:
    try:
        told = change()
    except SandboxDown as problem:
        messages.error(request, str(problem))
    else:
        audit.record_global("integrations.sandbox.changed", actor=user.get_username(), data=data)
        messages.success(request, told)
    return _back(request)


def _page(request: HttpRequest, user: User, *, form: PayForm | None = None, status: int = 200) -> HttpResponse:
    shown = {
        **admin.site.each_context(request),
        "crumbs": [("Sandbox", "")],
        **_live(request, user),
        "title": "Sandbox",
        "state": _state(request.GET),
        "other_state": _state(request.GET, vendor=""),
        "pay_form": form or PayForm(),
        "paying": vendor_name(paying.provider) if (paying := sample_payments.paying_connection()) else "",
        "payers": [(vendor_name(provider), provider) for provider in PAYERS],
        "sees_connections": user.has_perm("integrations.view_connection"),
    }
    if not shown["down"]:
        try:
            shown |= _switches(request, user)
        except SandboxDown as problem:
            shown["down"] = str(problem)
    return TemplateResponse(request, "admin/firstvalue/sandbox/page.html", shown, status=status)


def _live(request: HttpRequest, user: User) -> dict[str, Any]:
    # PostgreSQL takes no NUL in a text, not even to compare.
    text, paid = (request.GET.get(name, "").replace("\x00", "").strip()[:100] for name in ("q", "paid"))
    return sandbox_page.live(user, text=text, paid=paid)


def _switches(request: HttpRequest, user: User) -> dict[str, Any]:
    tabs, chosen = sandbox_page.switches_of(request.GET.get("vendor", ""))
    prefixes = asked(lambda sandbox: dict(sandbox.health()["vendors"]))
    connection = sandbox_page.connection_of(chosen["name"], str(prefixes.get(chosen["name"]) or ""))
    offered = [each for each in SWITCHES if each.fits(chosen["settings"])]
    return {
        "tabs": tabs,
        "chosen": chosen,
        "breaks": [each for each in offered if not each.fixes],
        "fixes": [each for each in offered if each.fixes],
        "connection": connection,
        "connection_url": sandbox_page.connection_url(connection)
        if user.has_perm("integrations.view_connection")
        else "",
    }


def _state(given: QueryDict, **changes: str) -> str:
    """The kept part of the address, as a query string."""
    values = {name: changes.get(name, given.get(name, "")) for name in KEPT}
    return urlencode({name: value for name, value in values.items() if value})


def _back(request: HttpRequest, fragment: str = "", **changes: str) -> HttpResponseRedirect:
    state = _state(request.GET, **changes)
    return HttpResponseRedirect(f"{reverse('sandbox')}{'?' if state else ''}{state}{fragment}")


_wrap = admin.site.admin_view
urlpatterns = [
    path("", _wrap(page), name="sandbox"),
    path("live/", _wrap(live), name="sandbox-live"),
    path("switch/", _wrap(switch), name="sandbox-switch"),
    path("remove/", _wrap(remove), name="sandbox-remove"),
    path("fix/", _wrap(fix), name="sandbox-fix"),
    path("pay/", _wrap(pay), name="sandbox-pay"),
]
