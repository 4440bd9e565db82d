"""What OpenAPI says beyond what the code shows by itself: the key, the payload and the errors."""

import copy
from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from integrations.http.problem_details import CONTENT_TYPE, document
from onboarding.api.payload_schema import payload_schema
from onboarding.payload.schema import OnboardingPayload

MEANINGS = {
    400: "Malformed: a wrong shape, type or parameter; `errors` says which.",
    401: "No key, or an unknown or revoked one.",
    403: "The key's scope does not allow this.",
    404: "There is nothing by that name.",
    409: "Not possible now; `detail` says why.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not application/json.",
    429: "More than 1,200 requests a minute with this key; the header Retry-After says when to go on.",
    503: "Not able to answer now.",
}
DETAILS = {
    400: "Some fields are wrong.",
    401: "This key is unknown or revoked.",
    403: "This key's scope is intake; this needs operate or read.",
    404: "There is nothing here by that name.",
    409: "This ticket is resolved already.",
    413: "The body is larger than 1048576 bytes.",
    415: "The body must be application/json.",
    429: "Request was throttled. Expected available in 12 seconds.",
    503: "The database did not answer in time. Send the same request again.",
}
FIELD_ERRORS = [{"path": "onboarding_transaction_id", "detail": "Field required"}]
ALWAYS = (400, 401, 403, 429)


class FieldErrorSerializer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="The field's dotted path; empty for the whole body.")
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FieldErrorSerializer(many=True, required=False)  # type: ignore[assignment]  # the RFC's way to say it


def responses(good: dict[int, Any], *bad: int) -> dict[tuple[int, str], Any]:
    """The answers of a call: the good ones, the given errors, and those that every call may give."""
    return {(status, "application/json"): answer for status, answer in good.items()} | {
        (status, CONTENT_TYPE): OpenApiResponse(
            ProblemSerializer, description=MEANINGS[status], examples=[_example(status)]
        )
        for status in sorted({*ALWAYS, *bad})
    }


def _example(status: int) -> OpenApiExample:
    value = document(status, DETAILS[status])
    if status == HTTPStatus.BAD_REQUEST:
        value["errors"] = FIELD_ERRORS
    return OpenApiExample(value["title"], value=value, status_codes=[str(status)], media_type=CONTENT_TYPE)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "onboarding.api.authentication.ApiKeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer", "description": "A key made with `manage.py create_api_key`."}


class RequestExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A request's body takes no other fields, and obeys the rules that its serializer declares."""

    target_class = "onboarding.api.serializers.RequestSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False, **self.target.openapi_rules}


class PayloadExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """The payload as `/api/v1/schema/onboarding.json` has it."""

    target_class = OnboardingPayload
    priority = 1  # before drf-spectacular's own for pydantic

    def get_name(self, auto_schema: Any, direction: str) -> str:  # noqa: ARG002
        return "OnboardingPayload"

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:  # noqa: ARG002
        schema = copy.deepcopy(payload_schema("#/components/schemas/Payload{model}"))
        for name, part in schema.pop("$defs").items():
            component = ResolvedComponent(  # type: ignore[no-untyped-call]
                name=f"Payload{name}",
                type=ResolvedComponent.SCHEMA,
                object=f"Payload{name}",
                schema=_as_openapi_30(part),
            )
            auto_schema.registry.register_on_missing(component)
        schema.pop("examples")
        return schema


def _as_openapi_30(part: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0 knows one ``example`` a schema where JSON Schema has several."""
    for found in part["properties"].values():
        if some := found.pop("examples", None):
            found["example"] = some[0]
    return part
