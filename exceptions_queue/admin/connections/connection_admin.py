"""Connections: what works, what does not, testing one and entering its credentials.

Nothing here runs inside a database transaction of the admin's: testing calls the vendor.
"""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST

from exceptions_queue.admin.connections import health
from exceptions_queue.admin.connections.forms import AddForm, CredentialsForm, SettingsForm, info
from exceptions_queue.admin.home import live_updates
from exceptions_queue.admin.tickets.page import waiting_runs
from exceptions_queue.admin.ui import badges, timeline
from exceptions_queue.models import Ticket
from exceptions_queue.tickets import naming
from integrations.admin import ReadOnlyAdmin
from integrations.connections import services as connections
from integrations.connections.services import ProbeResult
from integrations.enums import Breaker, BreakerCause
from integrations.models import ApiCall, Connection
from onboarding import audit, services
from onboarding.intake.starting_sources import without_common_key
from onboarding.models import Step

TEST, ENTER = "integrations.test_connection", "integrations.enter_credentials"


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    list_name = "Connections"
    list_display = ("name", "state", "waiting", "environment", "changed")
    list_display_links = ("name",)
    ordering = ("system", "slug")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        ready = Step.objects.startable().filter(connection=OuterRef("pk"))
        runs = ready.order_by().values("connection").annotate(n=Count("transaction", distinct=True)).values("n")
        rows: QuerySet[Connection] = super().get_queryset(request)
        return rows.annotate(runs_here=Coalesce(Subquery(runs, output_field=IntegerField()), 0))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("integrations.add_connection"))

    @admin.display(description="Connection", ordering="slug")
    def name(self, connection: Connection) -> SafeString:
        return badges.two_lines(connection.slug, f"{connection.get_system_display()} · {naming.vendor(connection)}")

    @admin.display(description="State", ordering="breaker")
    def state(self, connection: Connection) -> SafeString:
        return badges.two_lines(state_badge(connection), health.of(connection).more)

    @admin.display(description="Runs there now")
    def waiting(self, connection: Connection) -> SafeString:
        count = getattr(connection, "runs_here", 0)
        return badges.two_lines(_runs(count, "waits", "wait") if connection.is_stopped else count)

    @admin.display(description="Last change", ordering="updated_at")
    def changed(self, connection: Connection) -> SafeString | str:
        return badges.moment(connection.breaker_changed_at or connection.updated_at)

    # --- Pages

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("<int:pk>/live/", wrap(self.live_view), name="integrations_connection_live"),
            path("<int:pk>/test/", wrap(self.test_view), name="integrations_connection_test"),
            path("<int:pk>/credentials/", wrap(self.credentials_view), name="integrations_connection_credentials"),
            path("<int:pk>/settings/", wrap(self.settings_view), name="integrations_connection_settings"),
        ]
        return [*own, *super().get_urls()]

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = AddForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            given = form.cleaned_data
            if Connection.objects.filter(slug=given["slug"]).exists():
                form.add_error("slug", "A connection of this name exists.")
            elif made := self._set(request, form, given["slug"], given["system"], given["provider"]):
                messages.success(request, "The connection is created. Enter its credentials next.")
                return _to(made.pk)
        shown = self.page_context(request, trail=[("Add a connection", "")], title="Add a connection", form=form)
        status = 422 if form.errors else 200
        return TemplateResponse(request, "admin/integrations/connection/add.html", shown, status=status)

    @method_decorator(require_GET)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        return self._page(request, self._connection(request, object_id))

    @method_decorator(require_GET)
    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return live_updates.answer(version=live_updates.connection_version(self._connection(request, pk)))

    @method_decorator(require_POST)
    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._connection(request, pk)
        actor = _allowed(request, TEST)
        _tell(request, *_test(connection, actor))
        return _to(pk)

    @method_decorator(require_POST)
    def credentials_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._connection(request, pk)
        actor = _allowed(request, ENTER)
        form = CredentialsForm(connection, request.POST)
        if form.is_valid():
            try:
                result, waited = _replace(connection, form.entered, actor)
            except ValueError as problem:
                form.add_error(None, str(problem))
            else:
                if result.ok:
                    _tell(request, result, waited)
                    return _to(pk)
                form.add_error(None, f"The test failed: {result.message} {_not_kept(connection)}")
        return self._page(request, connection, credentials=form)

    @method_decorator(require_POST)
    def settings_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = self._connection(request, pk)
        _allowed(request, "integrations.change_connection")
        form = SettingsForm(connection, request.POST)
        if form.is_valid() and (
            made := self._set(
                request, form, connection.slug, connection.system, connection.provider, options=form.options
            )
        ):
            if made.base_url != connection.base_url:
                messages.warning(
                    request,
                    "Saved. The address changed, so the stored credentials were removed: enter them again.",
                )
            else:
                messages.success(request, "Saved. Test the connection to see whether it works.")
            return _to(pk)
        return self._page(request, connection, settings=form)

    def _set(
        self,
        request: HttpRequest,
        form: Any,
        slug: str,
        system: str,
        provider: str,
        *,
        options: dict[str, str] | None = None,
    ) -> Connection | None:
        actor = request.user.get_username()
        given = form.cleaned_data
        try:
            made = connections.set_connection(
                slug,
                system=system,
                provider=provider,
                base_url=given.get("base_url", "").strip(),
                environment=given["environment"],
                options=options,
                enabled=given.get("enabled"),
                max_concurrency=given.get("max_concurrency") or 0,
                actor=actor,
            )
        except ValueError as problem:
            form.add_error(None, str(problem))
            return None
        return made

    def _connection(self, request: HttpRequest, pk: str | int) -> Connection:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return self.get_queryset(request).get(pk=int(pk))
        except (Connection.DoesNotExist, ValueError):
            raise Http404("There is no such connection.") from None

    def _page(self, request: HttpRequest, connection: Connection, **forms: Any) -> HttpResponse:
        user = request.user
        secrets = connection.secret_rows.filter(active=True).order_by("name", "-pk")
        shown = self.page_context(
            request,
            trail=[(connection.slug, "")],
            title=connection.slug,
            connection=connection,
            version=live_updates.connection_version(connection),
            vendor=naming.vendor(connection),
            state=state_badge(connection),
            stopped=_stopped(connection),
            left=health.left(connection),
            waits=_runs(getattr(connection, "runs_here", 0), "waits", "wait"),
            secrets=[{"name": row.name, "at": badges.moment(row.created_at)} for row in secrets],
            started_twice=without_common_key(connection),
            lacking=_lacking(connection, {row.name for row in secrets}),
            may_test=user.has_perm(TEST),
            credentials_form=(forms.get("credentials") or CredentialsForm(connection))
            if user.has_perm(ENTER) and info(connection).secrets
            else None,
            settings_form=(forms.get("settings") or SettingsForm(connection))
            if user.has_perm("integrations.change_connection")
            else None,
            tickets=list(Ticket.objects.filter(connection=connection).unresolved()),
            calls=badges.calls(ApiCall.objects.filter(connection=connection)[:15])
            if user.has_perm("integrations.view_apicall")
            else [],
            timeline=timeline.history_of(connection),
        )
        return TemplateResponse(request, "admin/integrations/connection/page.html", shown, status=422 if forms else 200)


def state_badge(connection: Connection) -> SafeString:
    return health.of(connection).badge


def _stopped(connection: Connection) -> str:
    """What a person does about it, and what happens by itself; empty while calls go through."""
    if not connection.is_stopped:
        return ""
    name = naming.vendor(connection)
    if connection.breaker == Breaker.OPEN and connection.breaker_cause == BreakerCause.AUTH:
        return f"Enter new credentials, or test again if they were corrected at {name}."
    return f"{health.last_try(connection)} No action is needed unless {name} moved or our network is down."


def _lacking(connection: Connection, stored: set[str]) -> list[str]:
    """What must be entered before the connection can work."""
    known = info(connection)
    return [*known.missing_secrets(stored), *known.missing_options(connection.options)]


def _test(connection: Connection, actor: str) -> tuple[ProbeResult, int]:
    """Calls the vendor. Where the test passes, what waited goes on; returns how many runs that were."""
    was_open = connection.is_stopped
    waited = waiting_runs(connection)
    result = connections.close_after_probe(connection.pk, actor)
    audit.record_global(
        "integrations.connection.tested", actor=actor, data={"connection": connection.slug, "passed": result.ok}
    )
    if result.ok and not was_open:
        services.connection_restored(
            connection.system, connection.pk
        )  # with an open breaker the news of its closing does this
    return result, waited


def _replace(connection: Connection, entered: dict[str, list[str]], actor: str) -> tuple[ProbeResult, int]:
    """As ``_test``, with the entered credentials, which are kept only if it passes."""
    waited = waiting_runs(connection)
    result = connections.replace_credentials(connection.pk, entered, actor=actor)
    audit.record_global(
        "integrations.connection.tested", actor=actor, data={"connection": connection.slug, "passed": result.ok}
    )
    return result, waited


def _not_kept(connection: Connection) -> str:
    stored = connection.secret_rows.filter(active=True).exists()
    return "Nothing was saved: the current credentials stay in use." if stored else "Nothing was saved."


def _tell(request: HttpRequest, result: ProbeResult, waited: int) -> None:
    if not result.ok:
        messages.error(request, f"The test failed: {result.message}")
    elif waited:
        messages.success(request, f"The test passed ({result.message}); {_runs(waited, 'goes', 'go')} on.")
    else:
        messages.success(request, f"The test passed: {result.message}.")


def _runs(count: int, one: str, many: str) -> str:
    return f"1 run {one}" if count == 1 else f"{count} runs {many}"


def _allowed(request: HttpRequest, permission: str) -> str:
    """The actor's name. Raises ``PermissionDenied``."""
    if not isinstance(request.user, User) or not request.user.has_perm(permission):
        raise PermissionDenied
    return request.user.get_username()


def _to(pk: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:integrations_connection_change", args=[pk]))
