"""``/api/v1/onboardings/``: the intake's REST door, and runs with what covers them."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import ValidationError as PydanticError
from rest_framework.request import Request
from rest_framework.response import Response

from exceptions_queue.api import run_parts
from exceptions_queue.api.filters import OnboardingFilter
from exceptions_queue.api.serializers import (
    CHANGE_ANSWER,
    RUN_ANSWER,
    TAKEN_ANSWER,
    ChangeReceiptSerializer,
    OnboardingDetailSerializer,
    OnboardingSerializer,
    OnboardingTakenSerializer,
    ReceiptSerializer,
    WarningSerializer,
)
from exceptions_queue.models import is_blocked
from onboarding.api.authentication import EVERYBODY, READERS, SENDERS, caller
from onboarding.api.openapi import responses
from onboarding.api.payload_schema import EXAMPLE
from onboarding.api.problems import Invalid
from onboarding.api.serializers import ChangeRequestSerializer, represented
from onboarding.api.views import ApiView
from onboarding.intake import service
from onboarding.intake.service import Verdict
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload
from onboarding.payload.unknown_fields import unknown_fields

TAGS = ["Onboardings"]
STATUSES = {Verdict.CREATED: 201, Verdict.REPLAYED: 200, Verdict.FILLED: 200, Verdict.CHANGE_REQUESTED: 202}
LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="The run's address.")
REPLAYED = OpenApiParameter(
    "Idempotent-Replayed",
    str,
    OpenApiParameter.HEADER,
    response=[200],
    description="`true` for the same content again.",
)


class Representation(ApiView):
    """What both views of runs share: the detail representation, in nine queries at most."""

    def detail(self, onboarding_transaction_id: str, change: ChangeRequest | None = None) -> dict[str, Any]:
        """The run with its parts; for a key that may not read it, a receipt."""
        run = run_parts.read(onboarding_transaction_id)
        if run is None:
            raise Http404
        return self.shown(run, change)

    def shown(self, run: OnboardingTransaction, change: ChangeRequest | None = None) -> dict[str, Any]:
        """As ``detail``, of a run that has its parts."""
        if not caller(self.request).may_read(run):
            context = {**self.get_serializer_context(), "change": change}
            return dict((ChangeReceiptSerializer if change else ReceiptSerializer)(run, context=context).data)
        context = {**self.get_serializer_context(), "exceptions": run_parts.covering_tickets(run)}
        return represented(OnboardingDetailSerializer, run, context)


class OnboardingList(Representation):
    serializer_class = OnboardingSerializer
    filterset_class = OnboardingFilter
    scopes = {"GET": READERS, "POST": SENDERS}

    def get_queryset(self) -> QuerySet[OnboardingTransaction]:
        return OnboardingTransaction.objects.select_related("sla_clock").annotate(blocked=is_blocked())

    @extend_schema(responses=responses({200: OnboardingSerializer(many=True)}, 404), tags=TAGS, summary="List runs")
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Newest first. Scopes: read, operate."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        tags=TAGS,
        summary="Start an onboarding, or repeat one",
        request=OnboardingPayload,
        parameters=[LOCATION, REPLAYED],
        examples=[OpenApiExample("A paid event", value=EXAMPLE, request_only=True)],
        responses=responses(
            {
                201: OpenApiResponse(OnboardingTakenSerializer, description="A new run."),
                200: OpenApiResponse(
                    TAKEN_ANSWER,
                    description="The same id and the same content (`Idempotent-Replayed: true`), or content that filled in what "
                    "was missing.",
                ),
                202: OpenApiResponse(
                    CHANGE_ANSWER,
                    description="The same id and other content, or content of a source that may not fill in this run: recorded as "
                    "`change_request`; the run stays as it is.",
                ),
            },
            413,
            415,
            503,
        ),
    )
    def post(self, request: Request) -> Response:
        """Idempotent: the same request may be sent as often as needed. Scopes: intake, operate.

        Missing required fields are accepted: the run waits in `awaiting-data`, and an exception lists them. Personal data is
        shown to keys with the scope operate. A key with the scope intake gets a receipt of a run that another source began.
        """
        try:
            payload = OnboardingPayload.model_validate(request.data)
        except PydanticError as error:
            raise Invalid.of(error) from None
        content = payload.content()
        if "event_source" not in content:  # nothing but spaces
            raise Invalid([{"path": "event_source", "detail": "must be a text of 1 to 64 characters"}])
        who = caller(request)
        receipt = service.accept(content, actor=who.actor, sender=who.sender, occurred_at=payload.occurred_at)
        if receipt.made is not None:
            body = self.shown(run_parts.as_made(receipt.run, receipt.made))
        else:
            body = self.detail(receipt.run.onboarding_transaction_id, receipt.change_request)
        if who.may_read(receipt.run):
            unknown = unknown_fields(content)
            body["warnings"] = WarningSerializer(unknown, many=True).data if unknown else []
            if receipt.change_request:
                body["change_request"] = ChangeRequestSerializer(receipt.change_request).data
        headers = {}
        if receipt.verdict is Verdict.CREATED:
            headers["Location"] = str(body["url"])  # DRF marks links with a type of its own
        elif receipt.verdict is Verdict.REPLAYED:
            headers["Idempotent-Replayed"] = "true"
        return Response(body, STATUSES[receipt.verdict], headers=headers)


class OnboardingDetail(Representation):
    serializer_class = OnboardingDetailSerializer
    scopes = {"GET": EVERYBODY}

    @extend_schema(responses=responses({200: RUN_ANSWER}, 404), tags=TAGS, summary="One run with its parts")
    def get(self, request: Request, onboarding_transaction_id: str) -> Response:  # noqa: ARG002
        """Personal data in it is shown to keys with the scope operate. Scopes: intake, read, operate.

        A key with the scope intake gets a receipt of a run that another source began.
        """
        return Response(self.detail(onboarding_transaction_id))
