"""What all calls of the API have in common."""

from typing import Any, ClassVar

from django_filters import CharFilter
from rest_framework.generics import GenericAPIView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from onboarding.api.authentication import caller
from onboarding.api.parsers import take_body
from onboarding.api.problems import Invalid
from onboarding.enums import Scope

PAGING = frozenset({"page", "page_size"})


class JsonWhateverIsAccepted(DefaultContentNegotiation):
    """There is one representation, so ``Accept`` decides nothing (RFC 9110, section 12.5.1 allows it)."""

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002
        renderers: Any,
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class ApiView(GenericAPIView[Any]):
    """Behind a key; ``scopes`` says which scopes may use which method. What a query does not know is refused, not ignored."""

    scopes: ClassVar[dict[str, frozenset[Scope]]] = {}
    content_negotiation_class = JsonWhateverIsAccepted
    http_method_names = ["get", "head", "post"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        take_body(request)
        known = self.known_parameters()
        if unknown := sorted(set(request.query_params) - known):
            listed = ", ".join(sorted(known)) or "none"
            raise Invalid(
                [{"path": name, "detail": f"is no parameter of this call (known: {listed})"} for name in unknown]
            )

        if empty := [name for name in self._typed() if "" in request.query_params.getlist(name)]:
            raise Invalid([{"path": name, "detail": "is empty: leave it out, or give a value"} for name in empty])

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer.headers.setdefault("Cache-Control", "no-store")  # it holds customers' data
        return answer

    def known_parameters(self) -> frozenset[str]:
        filters = getattr(self, "filterset_class", None)
        return PAGING | frozenset(filters.base_filters) if filters else frozenset()

    def body(self, request: Request) -> dict[str, Any]:
        """The request's body as ``serializer_class`` takes it. Raises DRF's ``ValidationError``."""
        given = self.get_serializer(data=request.data or {})
        given.is_valid(raise_exception=True)
        data: dict[str, Any] = given.validated_data
        return data

    def _typed(self) -> list[str]:
        """The filters that take more than free text: an empty value of theirs is a wrong one."""
        filters = getattr(self, "filterset_class", None)
        return [name for name, one in filters.base_filters.items() if type(one) is not CharFilter] if filters else []

    def get_serializer_context(self) -> dict[str, Any]:
        context = super().get_serializer_context()
        if getattr(self, "swagger_fake_view", False):
            return dict(context)
        return {**context, "masked": not caller(self.request).sees_personal_data}
