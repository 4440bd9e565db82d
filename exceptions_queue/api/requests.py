"""The bodies of the operator's actions, made from the forms that the actions declare."""

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from exceptions_queue.tickets import forms
from exceptions_queue.tickets.forms import MAX_ID, Field, Form, Kind
from onboarding.api.serializers import RequestSerializer, StrictText
from onboarding.enums import RunEventType
from onboarding.services.base import LONGEST_REASON

MAX_PATHS = 100


class StrictFlag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false")
        return data


class ReasonSerializer(RequestSerializer):
    reason = StrictText(max_length=LONGEST_REASON)


class RunEventSerializer(RequestSerializer):
    """A later business event of a run. The same ``event_id`` again is no second event."""

    type = serializers.ChoiceField(RunEventType.choices)
    event_id = StrictText(max_length=255)
    occurred_at = serializers.DateTimeField(required=False, help_text="Without it, now.")
    data = serializers.DictField(required=False)  # type: ignore[assignment]  # DRF's metaclass takes it away


def _text(field: Field, **common: Any) -> serializers.Field[Any, Any, Any, Any]:
    return StrictText(max_length=field.max_length, **common)


FIELDS: dict[Kind, Callable[..., serializers.Field[Any, Any, Any, Any]]] = {
    Kind.TEXT: _text,
    Kind.LONG_TEXT: _text,
    Kind.FLAG: lambda _, **common: StrictFlag(**common),
    Kind.WHOLE: lambda field, **common: serializers.IntegerField(
        min_value=field.minimum, max_value=field.maximum, **common
    ),
    Kind.QUEUE: lambda _, **common: serializers.ChoiceField(forms.QUEUE_CHOICES, **common),
    Kind.PERSON: lambda field, **common: _text(field, allow_null=True, **common),
    Kind.PAYLOAD: lambda _, **common: serializers.DictField(
        child=serializers.JSONField(allow_null=True), allow_empty=False, **common
    ),
    Kind.PATHS: lambda _, **common: serializers.ListField(
        child=StrictText(max_length=MAX_ID), max_length=MAX_PATHS, **common
    ),
}


_made: dict[str, type[RequestSerializer]] = {}


def body_of(form: Form) -> type[RequestSerializer]:
    """The serializer of the body in which the form is sent; forms of one name have one."""
    if form.name not in _made:
        _made[form.name] = _serializer(form)
    return _made[form.name]


def _serializer(form: Form) -> type[RequestSerializer]:
    def validate(_self: RequestSerializer, attrs: dict[str, Any]) -> dict[str, Any]:
        if wrong := form.wrong(attrs):
            raise serializers.ValidationError(wrong)
        return attrs

    members = {each.name: _field(each) for each in form.fields} | {
        "validate": validate,
        "openapi_rules": dict(form.rules),
        "__doc__": form.description or None,
    }
    return type(f"{form.name}Serializer", (RequestSerializer,), members)


def _field(field: Field) -> serializers.Field[Any, Any, Any, Any]:
    common: dict[str, Any] = {"help_text": field.help} if field.help else {}
    return (
        FIELDS[field.kind](field, **common) if field.required else FIELDS[field.kind](field, required=False, **common)
    )
