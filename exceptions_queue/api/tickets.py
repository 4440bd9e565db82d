"""``/api/v1/exceptions/``: the tickets and the operator's actions on them."""

from typing import Any

from django.db.models import F, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from exceptions_queue.api import requests
from exceptions_queue.api.filters import TicketFilter
from exceptions_queue.api.serializers import TicketSerializer
from exceptions_queue.models import Ticket, tries_counted
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from exceptions_queue.tickets.declaration import Action
from onboarding.api.authentication import OPERATORS, READERS, caller
from onboarding.api.openapi import responses
from onboarding.api.problems import Invalid
from onboarding.api.views import ApiView

TAGS = ["Exceptions"]


class TicketView(ApiView):
    serializer_class: type[Serializer[Any]] = TicketSerializer

    def get_queryset(self) -> QuerySet[Ticket]:
        """Most urgent first; joined and counted so that a page costs as many queries as a row."""
        return (
            Ticket.objects.select_related(
                *("transaction__sla_clock", "change_request__sla_clock", "connection", "owner"),
                *("step__connection", "mapping__connection", "mapping__step", "finding"),
            )
            .prefetch_related("notes")
            .annotate(attempt_count=tries_counted())
            .order_by(F("sla_due").asc(nulls_last=True), "pk")
        )

    def shown(self, pk: int) -> Response:
        ticket = get_object_or_404(self.get_queryset(), pk=pk)
        return Response(TicketSerializer(ticket, context=self.get_serializer_context()).data)


class TicketList(TicketView):
    filterset_class = TicketFilter
    scopes = {"GET": READERS}

    @extend_schema(responses=responses({200: TicketSerializer(many=True)}, 404), tags=TAGS, summary="List exceptions")
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Most urgent first. Scopes: read, operate."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class TicketDetail(TicketView):
    scopes = {"GET": READERS}

    @extend_schema(responses=responses({200: TicketSerializer}, 404), tags=TAGS, summary="One exception")
    def get(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Scopes: read, operate."""
        return self.shown(pk)


PREVIEWED = tuple(name for name, action in actions.ACTIONS.items() if action.preview)


VERDICTS = [
    *("skip", "look-up", "create", "send-again", "cannot-be-undone"),
    *("update", "another", "nothing", "by-hand", "later"),
    *("take-back", "keep", "changed-since", "gone", "settle-first"),
]


class EffectSerializer(serializers.Serializer[Any]):
    """What an action would do to one step."""

    step = serializers.CharField()
    title = serializers.CharField()
    verdict = serializers.ChoiceField(VERDICTS)
    text = serializers.CharField()


class TicketPreview(TicketView):
    serializer_class = EffectSerializer
    pagination_class = None  # a run's steps are few, and OpenAPI would tell of pages
    scopes = {"GET": READERS}

    def known_parameters(self) -> frozenset[str]:
        return frozenset({"action", "from_step"})

    @extend_schema(
        responses=responses({200: EffectSerializer(many=True)}, 404, 409),
        parameters=[
            OpenApiParameter("action", str, required=True, enum=PREVIEWED),
            OpenApiParameter("from_step", str, description="For a replay: a step's key."),
        ],
        tags=TAGS,
        summary="Preview an action",
    )
    def get(self, request: Request, pk: int) -> Response:
        """Step by step, in playbook order. Scopes: read, operate."""
        name = request.query_params.get("action", "")
        if name not in PREVIEWED:
            raise Invalid([{"path": "action", "detail": f"must be one of {', '.join(PREVIEWED)}"}])
        ticket = get_object_or_404(Ticket.objects.select_related("transaction", "step"), pk=pk)
        effects = actions.preview(ticket, name, from_step=request.query_params.get("from_step", ""))
        return Response([dict(EffectSerializer(effect).data) for effect in effects])


class TicketAction(TicketView):
    """One action, with the body that its declaration asks for."""

    action: Action
    scopes = {"POST": OPERATORS}

    def post(self, request: Request, pk: int) -> Response:
        try:
            actions.perform(pk, self.action.name, Actor.of(caller(request)), **self.body(request))
        except actions.NotAllowed as refusal:
            raise PermissionDenied(str(refusal)) from None
        return self.shown(pk)


def endpoint(action: Action) -> type[TicketAction]:
    """The view that follows from an action's declaration."""
    title, body = "".join(part.capitalize() for part in action.name.split("-")), requests.body_of(action.form)
    made = type(f"{title}Action", (TicketAction,), {"action": action, "serializer_class": body})
    described = extend_schema(
        summary=action.summary,
        description="Answers with the exception as it is then; it closes only when its subject has passed. Scope: operate.",
        tags=TAGS,
        request=body,
        responses=responses({200: TicketSerializer}, 404, 409, 413, 415, 503),
        examples=[OpenApiExample(action.summary, value=action.example, request_only=True)],
    )
    view: type[TicketAction] = extend_schema_view(post=described)(made)
    return view
