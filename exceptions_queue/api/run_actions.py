"""``POST /api/v1/onboardings/{id}/{events,hold,resume,cancel,rollback}/``: what other systems tell of a run, and do to it."""

from collections.abc import Callable
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
from exceptions_queue.tickets import forms
from integrations import clock
from onboarding import services
from onboarding.api.authentication import OPERATORS, SENDERS, caller
from onboarding.api.openapi import responses
from onboarding.api.serializers import KeptEventSerializer
from onboarding.engine.reported_events import EventIdConflict
from onboarding.enums import RunEventType, Scope
from onboarding.intake import unmatched
from onboarding.models import OnboardingTransaction

Do = Callable[[int, str, dict[str, Any]], None]


class RunAction(Representation):
    """One action. ``serializer_class`` is its body; ``do`` gets the run, the actor and the body.

    ``permission``: what a person needs for the same; empty for what is no operator's action.
    """

    do: Do
    permission: str

    def post(self, request: Request, onboarding_transaction_id: str) -> Response:
        body = self.body(request)
        run = get_object_or_404(OnboardingTransaction.objects.called(onboarding_transaction_id))
        if self.permission and not Actor.of(caller(request)).may(self.permission, run):
            raise PermissionDenied
        self.do(run.pk, caller(request).actor, body)
        return Response(self.detail(onboarding_transaction_id))


class ReceiveEvent(RunAction):
    """An event may come before its run: it is kept, and applied when that opens."""

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


def _reason(data: dict[str, Any], actor: str) -> str:
    return data.get("reason") or f"Asked for through the API by {actor}."


def _hold(run_pk: int, actor: str, data: dict[str, Any]) -> None:
    services.hold(run_pk, actor=actor, reason=_reason(data, actor))


def _resume(run_pk: int, actor: str, _data: dict[str, Any]) -> None:
    services.resume(run_pk, actor=actor)


def _cancel(run_pk: int, actor: str, data: dict[str, Any]) -> None:
    services.cancel(run_pk, actor=actor, reason=_reason(data, actor))


def _roll_back(run_pk: int, actor: str, data: dict[str, Any]) -> None:
    services.rollback(run_pk, actor=actor, reason=_reason(data, actor))


def _receive(run_pk: int, actor: str, data: dict[str, Any]) -> None:
    services.receive_event(run_pk, actor=actor, **_event(data))


def _event(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": RunEventType(data["type"]),
        "event_id": data["event_id"],
        "occurred_at": data.get("occurred_at") or clock.now(),
        "data": data.get("data") or {},
    }


_CALLS: dict[str, tuple[Do, type[Serializer[Any]], str, str, dict[str, Any]]] = {
    "events": (
        _receive,
        requests.RunEventSerializer,
        "",
        "Report a later business event of the run",
        {"type": "kickoff.scheduled", "event_id": "evt_1", "occurred_at": "2026-11-24T10:00:00Z", "data": {}},
    ),
    "hold": (
        _hold,
        requests.body_of(forms.OPTIONAL_REASON),
        "onboarding.hold_run",
        "Start no further step until the run is resumed",
        {"reason": "The customer asked us to wait."},
    ),
    "resume": (_resume, requests.body_of(forms.NOTHING), "onboarding.hold_run", "Resume a run on hold", {}),
    "rollback": (
        _roll_back,
        requests.body_of(forms.OPTIONAL_REASON),
        "onboarding.rollback_run",
        "Remove what the run created and nobody else uses",
        {"reason": "The payment was refunded."},
    ),
    "cancel": (
        _cancel,
        requests.body_of(forms.OPTIONAL_REASON),
        "onboarding.cancel_run",
        "Cancel the run",
        {"reason": "The order was withdrawn."},
    ),
}


_BASES: dict[str, type[RunAction]] = {"events": ReceiveEvent}
_FURTHER: dict[str, dict[int, Any]] = {
    "events": {
        202: OpenApiResponse(
            KeptEventSerializer, description="There is no such run yet: the event is kept, and applied when it opens."
        )
    }
}


def _view(name: str) -> type[RunAction]:
    do, body, permission, summary, example = _CALLS[name]
    scopes = OPERATORS if permission else SENDERS
    members = {
        "do": staticmethod(do),
        "serializer_class": body,
        "permission": permission,
        "scopes": {"POST": scopes},
    }
    made = type(f"{name.capitalize()}Run", (_BASES.get(name, RunAction),), members)
    described = extend_schema(
        summary=summary,
        description=f"Answers with the run as it is then. Scopes: {', '.join(sorted(scopes))}.",
        tags=TAGS,
        request=body,
        responses=responses(
            {
                200: RUN_ANSWER if Scope.INTAKE in scopes else OnboardingDetailSerializer,
                **_FURTHER.get(name, {}),
            },
            *(404, 409, 413, 415, 503),
        ),
        examples=[OpenApiExample(summary, value=example, request_only=True)],
    )
    view: type[RunAction] = extend_schema_view(post=described)(made)
    return view


RUN_VIEWS = {name: _view(name) for name in _CALLS}
