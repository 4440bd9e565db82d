"""``/api/v1/endpoints/``: webhooks out, to a company's own addresses."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from exceptions_queue.api import requests
from exceptions_queue.api.onboardings import LOCATION
from integrations.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from integrations.outbound import services
from integrations.outbound.events import EventType
from onboarding.api.authentication import OPERATORS, caller
from onboarding.api.openapi import responses
from onboarding.api.problems import Invalid
from onboarding.api.serializers import RequestSerializer, StrictText
from onboarding.api.views import PAGING, ApiView

TAGS = ["Endpoints"]
TYPES = [(str(each), str(each)) for each in EventType]
SHOWN_DELIVERIES = 20


class TrySerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="Null: there was no answer.")
    error = serializers.CharField()
    ms = serializers.IntegerField()


class DeliverySerializer(serializers.Serializer[WebhookDelivery]):
    id = serializers.IntegerField()
    event_id = serializers.CharField(help_text="The delivery's webhook-id, the same in each try and replay.")
    type = serializers.CharField()
    state = serializers.ChoiceField(DeliveryState.choices)
    attempts = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(source="due_at", allow_null=True)
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    log = TrySerializer(many=True)


class EndpointSerializer(serializers.Serializer[WebhookEndpoint]):
    id = serializers.IntegerField()
    url = serializers.CharField()
    description = serializers.CharField()
    types = serializers.ListField(child=serializers.ChoiceField(TYPES))
    paused = serializers.SerializerMethodField()
    paused_by = serializers.CharField()
    deliveries = serializers.SerializerMethodField(help_text=f"The newest {SHOWN_DELIVERIES}.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_paused(self, endpoint: WebhookEndpoint) -> bool:
        return endpoint.paused_at is not None

    def get_deliveries(self, endpoint: WebhookEndpoint) -> list[dict[str, Any]]:
        newest = endpoint.deliveries.order_by("-pk")[:SHOWN_DELIVERIES]
        return [dict(DeliverySerializer(each).data) for each in newest]


class NewEndpointSerializer(EndpointSerializer):
    secret = serializers.CharField(required=False, help_text="Shown this once: deliveries are signed with it.")


class EndpointBody(RequestSerializer):
    url = StrictText(max_length=500, help_text="Https, at a public host.")
    types = serializers.ListField(
        child=serializers.ChoiceField(TYPES), allow_empty=False, required=False, help_text="Without them: all."
    )
    description = StrictText(max_length=200, required=False, allow_blank=True)


class EndpointPatch(RequestSerializer):
    """What is left out stays as it is."""

    url = StrictText(max_length=500, required=False)
    types = serializers.ListField(child=serializers.ChoiceField(TYPES), allow_empty=False, required=False)
    description = StrictText(max_length=200, required=False, allow_blank=True)
    paused = requests.StrictFlag(required=False, help_text="What is written meanwhile is sent once it is not.")
    rotate_secret = requests.StrictFlag(
        required=False, help_text="Make another secret; the former one signs beside it for a day."
    )


class ReplayBody(RequestSerializer):
    """Without either, what failed is sent again."""

    since = serializers.DateTimeField(required=False, help_text="All that was written from then on.")
    delivery = serializers.IntegerField(required=False, min_value=1, max_value=2**53, help_text="This one.")


class ReplayedSerializer(serializers.Serializer[Any]):
    replayed = serializers.IntegerField()


class EndpointView(ApiView):
    serializer_class: Any = EndpointSerializer

    def found(self, pk: int) -> WebhookEndpoint:
        return get_object_or_404(WebhookEndpoint, pk=pk, removed_at=None)

    def shown(self, endpoint: WebhookEndpoint, secret: str = "", status: int = 200, headers: Any = None) -> Response:
        data = dict(EndpointSerializer(endpoint).data)
        return Response({**data, "secret": secret} if secret else data, status, headers=headers)


class EndpointList(EndpointView):
    serializer_class = EndpointBody
    scopes = {"GET": OPERATORS, "POST": OPERATORS}
    queryset = WebhookEndpoint.objects.none()  # for the schema

    def known_parameters(self) -> frozenset[str]:
        return PAGING if self.request.method == "GET" else frozenset()

    @extend_schema(
        tags=TAGS,
        summary="List the endpoints",
        parameters=[
            OpenApiParameter("page", int, description="A page of the list."),
            OpenApiParameter("page_size", int, description="Up to 200."),
        ],
        responses=responses({200: EndpointSerializer(many=True)}, 404),
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """With the newest deliveries of each, and never with a secret. Scope: operate."""
        page = self.paginate_queryset(WebhookEndpoint.objects.filter(removed_at=None)) or []
        return self.get_paginated_response([dict(EndpointSerializer(each).data) for each in page])

    @extend_schema(
        tags=TAGS,
        summary="Make an endpoint",
        request=EndpointBody,
        parameters=[LOCATION],
        responses=responses({201: NewEndpointSerializer}, 413, 415, 503),
        examples=[
            OpenApiExample(
                "What was provisioned",
                value={"url": "https://hooks.example.com/firstvalue", "types": ["run.provisioned"]},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """Its deliveries are signed by Standard Webhooks; the secret is shown this once. Scope: operate."""
        body = self.body(request)
        try:
            made, secret = services.make(
                body["url"],
                body.get("types") or list(EventType),
                description=body.get("description", ""),
                actor=caller(request).actor,
            )
        except ValueError as problem:
            raise Invalid([{"path": "url", "detail": str(problem)}]) from None
        where = request.build_absolute_uri(reverse("endpoint", args=[made.pk]))
        return self.shown(made, secret, 201, {"Location": where})


class EndpointDetail(EndpointView):
    serializer_class = EndpointPatch
    http_method_names = ["get", "head", "patch", "delete"]
    scopes = {"GET": OPERATORS, "PATCH": OPERATORS, "DELETE": OPERATORS}

    @extend_schema(tags=TAGS, summary="One endpoint", responses=responses({200: EndpointSerializer}, 404))
    def get(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Scope: operate."""
        return self.shown(self.found(pk))

    @extend_schema(
        tags=TAGS,
        summary="Change, pause or resume an endpoint, or change its secret",
        request=EndpointPatch,
        responses=responses({200: NewEndpointSerializer}, 404, 413, 415, 503),
        examples=[OpenApiExample("Pause it", value={"paused": True}, request_only=True)],
    )
    def patch(self, request: Request, pk: int) -> Response:
        """What is left out stays. A new secret is shown this once. Scope: operate."""
        body = self.body(request)
        self.found(pk)
        try:
            changed, secret = services.change(pk, **body, actor=caller(request).actor)
        except ValueError as problem:
            raise Invalid([{"path": "url", "detail": str(problem)}]) from None
        return self.shown(changed, secret)

    @extend_schema(tags=TAGS, summary="Remove an endpoint", request=None, responses=responses({204: None}, 404, 503))
    def delete(self, request: Request, pk: int) -> Response:
        """Nothing more is sent to it. Scope: operate."""
        services.remove(self.found(pk).pk, actor=caller(request).actor)
        return Response(status=204)


class EndpointReplay(EndpointView):
    serializer_class = ReplayBody
    scopes = {"POST": OPERATORS}

    @extend_schema(
        tags=TAGS,
        summary="Send deliveries again",
        request=ReplayBody,
        responses=responses({200: ReplayedSerializer}, 404, 413, 415, 503),
        examples=[OpenApiExample("Since an outage", value={"since": "2026-11-29T08:00:00Z"}, request_only=True)],
    )
    def post(self, request: Request, pk: int) -> Response:
        """Each under the id that it had, so that a receiver knows what it has. Scope: operate."""
        body = self.body(request)
        count = services.replay(
            self.found(pk).pk, since=body.get("since"), delivery=body.get("delivery"), actor=caller(request).actor
        )
        return Response({"replayed": count})
