"""Lists as ``{"count", "next", "previous", "results"}``."""

from typing import TYPE_CHECKING, Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response

if TYPE_CHECKING:  # rest_framework.views itself imports what the settings name
    from rest_framework.views import APIView

COUNT_CAP = 10_000
LAST_PAGE = 10_000_000


class Pages(PageNumberPagination):
    """Numbered pages; ``count`` stops at 10,000 so that it stays cheap, while ``next`` leads on to the end.

    Django's paginator would end where the capped count does, so the page asks for one row more than it shows instead.
    """

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    request: Request

    def paginate_queryset(
        self,
        queryset: Any,
        request: Request,
        view: "APIView | None" = None,  # noqa: ARG002
    ) -> list[Any]:
        self.request = request
        self.number = _positive(request, self.page_query_param, 1, LAST_PAGE)
        size = min(_positive(request, self.page_size_query_param, self.page_size, LAST_PAGE), self.max_page_size)
        start = (self.number - 1) * size
        rows = list(queryset[start : start + size + 1])
        if not rows and start:
            raise NotFound("There is no such page.")
        self.has_next = len(rows) > size
        if self.has_next or start + len(rows) > COUNT_CAP:
            self.count = queryset.order_by().values("pk")[:COUNT_CAP].count()
        else:
            self.count = start + len(rows)
        return rows[:size]

    def get_paginated_response(self, data: Any) -> Response:
        next_, previous = self._link(self.number + 1), self._link(self.number - 1)
        return Response(
            {
                "count": self.count,
                "next": next_ if self.has_next else None,
                "previous": previous if self.number > 1 else None,
                "results": data,
            }
        )

    def _link(self, number: int) -> str:
        query = self.request.query_params.copy()
        query["page"] = str(number)
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")


def _positive(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= most):  # noqa: PLR2004
        raise ValidationError({name: "must be a whole number above 0"})
    return int(text)
