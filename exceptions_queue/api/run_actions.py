"""``POST /api/v1/onboardings/{id}/{events,hold,resume,cancel,rollback}/``: what other systems tell of a run, and do to it."""

from abc import ABC, abstractmethod
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from exceptions_queue.api import requests
from exceptions_queue.api.onboardings import TAGS, Representation
from exceptions_queue.api.serializers import RUN_ANSWER, OnboardingDetailSerializer
from exceptions_queue.roles import Actor
from exceptions_queue.runs import actions
from exceptions_queue.runs.declaration import Endpoint, RunAction, Target
from exceptions_queue.tickets.actions import NotAllowed
from integrations import clock
from onboarding import services
from onboarding.api.authentication import OPERATORS, SENDERS, Caller, caller
from onboarding.api.openapi import responses
from onboarding.api.serializers import KeptEventSerializer
from onboarding.engine.reported_events import EventIdConflict
from onboarding.enums import RunEventType
from onboarding.intake import unmatched
from onboarding.models import OnboardingTransaction


class RunView(Representation, ABC):
    """A call that does something to a run and answers with it. ``serializer_class`` is its body."""

    def post(self, request: Request, onboarding_transaction_id: str) -> Response:
        body = self.body(request)
        run = get_object_or_404(OnboardingTransaction.objects.called(onboarding_transaction_id))
        self.perform(run, caller(request), body)
        return Response(self.detail(onboarding_transaction_id))

    @abstractmethod
    def perform(self, run: OnboardingTransaction, who: Caller, body: dict[str, Any]) -> None:
        """Do it. Raises ``PermissionDenied``, or ``Refused`` where it makes no sense now."""


class RunActionView(RunView):
    """One of the operator's actions, as it is declared."""

    action: RunAction
    scopes = {"POST": OPERATORS}

    def perform(self, run: OnboardingTransaction, who: Caller, body: dict[str, Any]) -> None:
        try:
            actions.perform(self.action, Target(run), Actor.of(who), body)
        except NotAllowed:
            raise PermissionDenied from None


def _described(
    view: type[RunView],
    body: type[Serializer[Any]],
    summary: str,
    example: dict[str, Any],
    answers: dict[int, Any],
) -> type[RunView]:
    scopes = sorted(view.scopes["POST"])
    described = extend_schema(
        summary=summary,
        description=f"Answers with the run as it is then. Scopes: {', '.join(scopes)}.",
        tags=TAGS,
        request=body,
        responses=responses(answers, *(404, 409, 413, 415, 503)),
        examples=[OpenApiExample(summary, value=example, request_only=True)],
    )
    made: type[RunView] = extend_schema_view(post=described)(view)
    return made


def endpoint(action: RunAction, offered: Endpoint) -> type[RunView]:
    """The view that follows from an action's declaration."""
    body = requests.body_of(action.form)
    members = {"action": action, "serializer_class": body}
    view = type(f"{action.name.capitalize()}Run", (RunActionView,), members)
    return _described(view, body, offered.summary, offered.example, {200: OnboardingDetailSerializer})


# --- What other systems tell of a run: no operator's action


class EventsRun(RunView):
    """An event may come before its run: it is kept, and applied when that opens."""

    serializer_class = requests.RunEventSerializer
    scopes = {"POST": SENDERS}

    def post(self, request: Request, onboarding_transaction_id: str) -> Response:
        if not OnboardingTransaction.objects.called(onboarding_transaction_id).exists():
            event = _event(self.body(request))
            try:
                kept = unmatched.receive(onboarding_transaction_id, actor=caller(request).actor, **event)
            except (EventIdConflict, unmatched.TooMany) as refusal:
                raise services.Refused(str(refusal)) from None
            if kept:
                return Response(KeptEventSerializer(kept).data, status=202)
        return super().post(request, onboarding_transaction_id)

    def perform(self, run: OnboardingTransaction, who: Caller, body: dict[str, Any]) -> None:
        services.receive_event(run.pk, actor=who.actor, **_event(body))


def _event(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": RunEventType(data["type"]),
        "event_id": data["event_id"],
        "occurred_at": data.get("occurred_at") or clock.now(),
        "data": data.get("data") or {},
    }


_KEPT = OpenApiResponse(
    KeptEventSerializer, description="There is no such run yet: the event is kept, and applied when it opens."
)
_EXAMPLE = {"type": "kickoff.scheduled", "event_id": "evt_1", "occurred_at": "2026-11-24T10:00:00Z", "data": {}}

RUN_VIEWS: dict[str, type[RunView]] = {
    "events": _described(
        EventsRun,
        requests.RunEventSerializer,
        "Report a later business event of the run",
        _EXAMPLE,
        {200: RUN_ANSWER, 202: _KEPT},
    ),
    **{action.name: endpoint(action, action.endpoint) for action in actions.ACTIONS.values() if action.endpoint},
}
