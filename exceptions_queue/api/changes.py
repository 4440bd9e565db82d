"""``/api/v1/onboardings/{id}/change-requests/``: changed data, what it would do to each step, and the decision."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from exceptions_queue.api import requests
from exceptions_queue.api.onboardings import LOCATION, TAGS
from exceptions_queue.api.tickets import EffectSerializer
from exceptions_queue.roles import APPLY_CHANGE, Actor
from exceptions_queue.tickets import forms
from onboarding import services
from onboarding.api.authentication import OPERATORS, READERS, caller
from onboarding.api.openapi import responses
from onboarding.api.personal import MaskedText, masked
from onboarding.api.serializers import ChangeRequestSerializer
from onboarding.api.views import PAGING, ApiView
from onboarding.enums import ChangeStatus
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload import catalogue
from onboarding.payload.schema import get, with_value


class DifferenceSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF's metaclass takes it away
    now = serializers.JSONField(allow_null=True)
    proposed = serializers.JSONField(allow_null=True, help_text="Null: it would be taken out.")


class ChangeRequestDetailSerializer(ChangeRequestSerializer):
    """A change request with its difference from the data as it is now, and what applying it would do to each step."""

    decided_by = serializers.CharField()
    reason = MaskedText(help_text="Why it was rejected.")
    differences = serializers.SerializerMethodField()
    steps = serializers.SerializerMethodField(help_text="Of an open one. What no change touches is not listed.")

    class Meta(ChangeRequestSerializer.Meta):
        fields = [*ChangeRequestSerializer.Meta.fields, "decided_by", "reason", "differences", "steps"]

    @extend_schema_field(DifferenceSerializer(many=True))
    def get_differences(self, change: ChangeRequest) -> list[dict[str, Any]]:
        current = change.transaction.payload
        return [
            {
                "path": path,
                "label": catalogue.label(path),
                "now": self._shown(current, path),
                "proposed": self._shown(change.proposed, path),
            }
            for path in change.paths
        ]

    @extend_schema_field(EffectSerializer(many=True))
    def get_steps(self, change: ChangeRequest) -> list[dict[str, Any]]:
        effects = services.change_preview(change.pk) if change.status == ChangeStatus.OPEN else []
        return [dict(EffectSerializer(effect).data) for effect in effects]

    def _shown(self, content: dict[str, Any], path: str) -> Any:
        value = get(content, path, None)
        if value is None or not self.context.get("masked", True):
            return value
        return get(masked(with_value({}, path, value)), path, None)


class ChangeView(ApiView):
    serializer_class: Any = ChangeRequestDetailSerializer

    def find(self, onboarding_transaction_id: str, pk: int) -> ChangeRequest:
        known = ChangeRequest.objects.select_related("transaction")
        return get_object_or_404(
            known, pk=pk, transaction__in=OnboardingTransaction.objects.called(onboarding_transaction_id)
        )

    def found(self, request: Request, onboarding_transaction_id: str, pk: int) -> ChangeRequest:
        """The one to decide about. Raises ``PermissionDenied``."""
        change = self.find(onboarding_transaction_id, pk)
        if not Actor.of(caller(request)).may(APPLY_CHANGE, change.transaction):
            raise PermissionDenied
        return change

    def shown(self, change: ChangeRequest, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        data = ChangeRequestDetailSerializer(change, context=self.get_serializer_context()).data
        return Response(data, status, headers=headers)


class ChangeRequestList(ChangeView):
    queryset = ChangeRequest.objects.none()  # for the schema: each run has its own
    serializer_class = requests.body_of(forms.FIX)
    scopes = {"GET": READERS, "POST": OPERATORS}

    def known_parameters(self) -> frozenset[str]:
        return PAGING if self.request.method == "GET" else frozenset()

    @extend_schema(
        tags=TAGS,
        summary="List what was asked to change",
        parameters=[
            OpenApiParameter("page", int, description="A page of the list."),
            OpenApiParameter("page_size", int, description="Up to 200."),
        ],
        responses=responses({200: ChangeRequestSerializer(many=True)}, 404),
    )
    def get(self, request: Request, onboarding_transaction_id: str) -> Response:  # noqa: ARG002
        """Newest first, decided ones too. Scopes: read, operate."""
        run = get_object_or_404(OnboardingTransaction.objects.called(onboarding_transaction_id))
        page = self.paginate_queryset(run.change_requests.all())
        return self.get_paginated_response(ChangeRequestSerializer(page, many=True).data)

    @extend_schema(
        tags=TAGS,
        summary="Ask for a change of the run's data",
        request=requests.body_of(forms.FIX),
        parameters=[LOCATION],
        responses=responses({201: ChangeRequestDetailSerializer}, 404, 409, 413, 415, 503),
        examples=[
            OpenApiExample("Another plan", value={"fields": {"commercial.plan_sku": "enterprise"}}, request_only=True)
        ],
    )
    def post(self, request: Request, onboarding_transaction_id: str) -> Response:
        """Recorded, and shown with what it would do; nothing changes yet. Null takes a field out. Scope: operate."""
        body = self.body(request)
        run = get_object_or_404(OnboardingTransaction.objects.called(onboarding_transaction_id))
        change = services.request_change(
            run.pk, body["fields"], actor=caller(request).actor, confirmed=body.get("confirmed", ())
        )
        where = reverse("onboarding-change", args=[onboarding_transaction_id, change.pk])
        return self.shown(change, 201, {"Location": request.build_absolute_uri(where)})


class ChangeRequestDetail(ChangeView):
    scopes = {"GET": READERS}

    @extend_schema(
        responses=responses({200: ChangeRequestDetailSerializer}, 404),
        tags=TAGS,
        summary="One change request, and what applying it would do",
    )
    def get(self, request: Request, onboarding_transaction_id: str, pk: int) -> Response:  # noqa: ARG002
        """Personal data in it is shown to keys with the scope operate. Scopes: read, operate."""
        return self.shown(self.find(onboarding_transaction_id, pk))


class ApplyChange(ChangeView):
    serializer_class = requests.body_of(forms.NOTHING)
    scopes = {"POST": OPERATORS}

    @extend_schema(
        tags=TAGS,
        summary="Apply a change request",
        request=requests.body_of(forms.NOTHING),
        responses=responses({200: ChangeRequestDetailSerializer}, 404, 409, 413, 415, 503),
    )
    def post(self, request: Request, onboarding_transaction_id: str, pk: int) -> Response:
        """The steps that read what changes bring their objects up to date, in playbook order. Scope: operate."""
        self.body(request)
        services.apply_change(self.found(request, onboarding_transaction_id, pk).pk, actor=caller(request).actor)
        return self.shown(self.find(onboarding_transaction_id, pk))


class RejectChange(ChangeView):
    serializer_class = requests.ReasonSerializer
    scopes = {"POST": OPERATORS}

    @extend_schema(
        tags=TAGS,
        summary="Reject a change request",
        request=requests.ReasonSerializer,
        responses=responses({200: ChangeRequestDetailSerializer}, 404, 409, 413, 415, 503),
        examples=[OpenApiExample("A reason", value={"reason": "A mistake in billing."}, request_only=True)],
    )
    def post(self, request: Request, onboarding_transaction_id: str, pk: int) -> Response:
        """The run stays as it is, and the same content told again asks nobody. Scope: operate."""
        reason = self.body(request)["reason"]
        change = self.found(request, onboarding_transaction_id, pk)
        services.reject_change(change.pk, actor=caller(request).actor, reason=reason)
        return self.shown(self.find(onboarding_transaction_id, pk))
