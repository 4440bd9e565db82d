"""Making and changing a webhook endpoint. Its secret is shown once, on the page that follows."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods, require_POST
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from integrations.admin import ReadOnlyAdmin
from integrations.models import WebhookEndpoint
from integrations.outbound import services
from integrations.outbound.events import EventType

OPERATE = "integrations.operate_webhookendpoint"
_FORM, _SECRET = "admin/integrations/webhookendpoint/form.html", "admin/integrations/webhookendpoint/secret.html"


class EndpointForm(forms.Form):
    url = forms.CharField(
        label="Address",
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Https, at a public host, such as https://hooks.example.com/firstvalue.",
    )
    description = forms.CharField(
        label="Description",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="Whose it is and what for.",
    )

    def __init__(self, data: Any = None, endpoint: WebhookEndpoint | None = None) -> None:
        told = set(endpoint.types) if endpoint else set(EventType)
        initial = {"url": endpoint.url, "description": endpoint.description} if endpoint else {}
        super().__init__(data, initial=initial, auto_id="endpoint-%s", label_suffix="")
        for each in EventType:
            self.fields[each] = forms.BooleanField(
                label=str(each), required=False, initial=each in told, widget=UnfoldBooleanWidget()
            )

    @property
    def address(self) -> list[forms.BoundField]:
        return [self["url"], self["description"]]

    @property
    def events(self) -> list[forms.BoundField]:
        return [self[each] for each in EventType]

    @property
    def entered(self) -> dict[str, Any]:
        """As the services take it."""
        given = self.cleaned_data
        types = [str(each) for each in EventType if given[each]]
        return {"url": given["url"], "description": given["description"], "types": types}


class EndpointForms(ReadOnlyAdmin):
    """Mixed into the endpoints' admin: pages of their own, reached from the list and from an endpoint's page."""

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            made: URLPattern = path(
                route, self.admin_site.admin_view(view), name=f"integrations_webhookendpoint_{name}"
            )
            return made

        return [
            at("new/", self.new_view, "new"),
            at("<int:pk>/edit/", self.edit_view, "edit"),
            at("<int:pk>/new-secret/", self.new_secret_view, "secret"),
            *super().get_urls(),
        ]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def new_view(self, request: HttpRequest) -> HttpResponse:
        require_operate(request)
        form = EndpointForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                made, secret = services.make(**form.entered, actor=request.user.get_username())
            except ValueError as problem:
                form.add_error(None, f"Nothing was made: {problem}.")
            else:
                return self._secret_page(request, made, secret)
        trail = [("Make an endpoint", "")]
        return self._form_page(request, form, trail=trail, title="Make an endpoint", does="Make the endpoint")

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        require_operate(request)
        endpoint = get_object_or_404(WebhookEndpoint, pk=pk, removed_at=None)
        form = EndpointForm(request.POST if request.method == "POST" else None, endpoint)
        if form.is_valid():
            try:
                services.change(pk, **form.entered, actor=request.user.get_username())
            except ValueError as problem:
                form.add_error(None, f"Nothing was changed: {problem}.")
            else:
                return HttpResponseRedirect(_page(pk))
        trail = [(endpoint.url, _page(pk)), ("Change it", "")]
        return self._form_page(request, form, trail=trail, title="Change the endpoint", does="Save", endpoint=endpoint)

    @method_decorator(require_POST)
    def new_secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        require_operate(request)
        try:
            endpoint, secret = services.change(pk, rotate_secret=True, actor=request.user.get_username())
        except WebhookEndpoint.DoesNotExist:
            raise Http404("There is no such endpoint.") from None
        return self._secret_page(request, endpoint, secret)

    def _form_page(self, request: HttpRequest, form: EndpointForm, *, trail: Any, **more: Any) -> HttpResponse:
        shown = self.page_context(request, trail=trail, form=form, **more)
        return TemplateResponse(request, _FORM, shown, status=422 if form.errors else 200)

    def _secret_page(self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str) -> HttpResponse:
        """The answer to the POST itself: a secret in a message or a session would be stored."""
        trail = [(endpoint.url, _page(endpoint.pk)), ("Its secret", "")]
        lasts = int(services.FORMER_SECRET_LASTS.total_seconds() // 3600)
        shown = self.page_context(
            request, trail=trail, title="The secret", endpoint=endpoint, secret=secret, former_lasts=lasts
        )
        return TemplateResponse(request, _SECRET, shown)  # as every page of the console it is stored nowhere


def require_operate(request: HttpRequest) -> None:
    """Raises ``PermissionDenied``."""
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied


def _page(pk: int) -> str:
    return reverse("admin:integrations_webhookendpoint_change", args=[pk])
