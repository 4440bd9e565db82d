"""What all read-only pages of the console share, and the calls that we made, as they were recorded.

Connections are managed where their runs are known.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.views import ChangeList

from integrations.models import ApiCall

COUNTED = 10_000
"""Rows up to which a list is counted and has pages; its filters and its search lead further."""


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # it takes no argument at run time
    """Counting all the rows of a table that grows costs more than showing a page of them."""

    template_name = "admin/firstvalue/pagination.html"

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list  # a query set: what lists of the admin show
        return int(rows.order_by().values("pk")[:COUNTED].count())

    @property
    def has_more(self) -> bool:
        return self.count >= COUNTED


class UncountedList(ChangeList):
    """Without the second COUNT: the page says how many match, not how many there are besides."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count


Crumb = tuple[str, str]
"""A name and its address; without one it is the page itself."""


class ReadOnlyAdmin(ModelAdmin):
    """Rows that nobody makes, changes or deletes here: what changes them are services behind buttons of their own."""

    list_name: ClassVar[str] = ""
    """What the menu, the page and the way back to it call the list; empty: as the model is called."""
    show_full_result_count = False
    paginator = CappedPaginator
    list_per_page = 50
    list_max_show_all = 0
    list_fullwidth = True
    list_filter_submit = True

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return bool(request.user.has_perm(f"{self.opts.app_label}.view_{self.opts.model_name}"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return UncountedList

    def page_context(self, request: HttpRequest, *, trail: Sequence[Crumb], **more: Any) -> dict[str, Any]:
        """For pages with a template of their own. ``trail``: name and address of what leads from the list to the page."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, **more}
        listed = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return {**context, "crumbs": [(self.list_name or capfirst(self.opts.verbose_name_plural), listed), *trail]}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        named = {"title": self.list_name, "crumbs": [(self.list_name, "")]} if self.list_name else {}
        answer: HttpResponse = super().changelist_view(request, {**named, **(extra_context or {})})
        return answer


def json_block(value: Any) -> SafeString:
    return format_html('<pre class="fv-json" tabindex="0">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def stamp(at: datetime | None) -> SafeString | str:
    """An exact time in UTC, for evidence."""
    return format_html('<time class="fv-nowrap">{}</time>', f"{at:%Y-%m-%d %H:%M:%S}") if at else "—"


@admin.register(ApiCall)
class ApiCallAdmin(ReadOnlyAdmin):
    """What is stored was redacted before."""

    list_display = ("made", "connection", "call", "answer", "duration", "subject")
    list_display_links = ("made",)
    list_filter = (("connection", RelatedDropdownFilter),)
    list_select_related = ("connection",)
    search_fields = ("subject__exact", "path__startswith")
    search_help_text = "What for, such as step:12, or the path"
    fields = ("made", "connection", "subject", "method", "path", "status", "error", "duration", "sent", "answered")
    readonly_fields = ("made", "duration", "sent", "answered")

    @admin.display(description="At (UTC)", ordering="at")
    def made(self, call: ApiCall) -> SafeString | str:
        return stamp(call.at)

    @admin.display(description="Call")
    def call(self, call: ApiCall) -> str:
        return f"{call.method} {call.path}"

    @admin.display(description="Answer", ordering="status")
    def answer(self, call: ApiCall) -> SafeString:
        tone = "ok" if call.status and call.status < 400 else "bad"  # noqa: PLR2004  (RFC 9110)
        return format_html('<span class="fv-badge fv-badge--{}">{}</span>', tone, call.status or "no answer")

    @admin.display(description="Took", ordering="duration_ms")
    def duration(self, call: ApiCall) -> str:
        return f"{call.duration_ms} ms"

    @admin.display(description="Request (redacted)")
    def sent(self, call: ApiCall) -> SafeString:
        return json_block(call.request)

    @admin.display(description="Answer (redacted)")
    def answered(self, call: ApiCall) -> SafeString:
        return json_block(call.response)
