"""The calls that we made, as they were recorded. Connections are managed where their runs are known."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RelatedDropdownFilter

from integrations.models import ApiCall


@admin.register(ApiCall)
class ApiCallAdmin(ModelAdmin):
    """Read-only; what is stored was redacted before."""

    list_display = ("at", "connection", "method", "path", "status", "duration_ms", "subject", "error")
    list_filter = (("connection", RelatedDropdownFilter),)
    list_filter_submit = True
    list_select_related = ("connection",)
    list_fullwidth = True
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("subject__exact", "path__startswith")
    search_help_text = "What it was made for, such as step:12, or the path's beginning"
    fields = ("at", "connection", "subject", "method", "path", "status", "error", "duration_ms", "sent", "answered")
    readonly_fields = ("sent", "answered")

    @admin.display(description="Request (redacted)")
    def sent(self, call: ApiCall) -> SafeString:
        return _json(call.request)

    @admin.display(description="Answer (redacted)")
    def answered(self, call: ApiCall) -> SafeString:
        return _json(call.response)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


def _json(value: Any) -> SafeString:
    return format_html('<pre class="fv-json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))
