"""The bodies of the operator's actions."""

from typing import Any

from rest_framework import serializers

from exceptions_queue.actions import LONGEST_SNOOZE
from onboarding.api.serializers import RequestSerializer, StrictText
from onboarding.queues import QUEUES
from onboarding.words import RunEventType

MAX_NOTE = 4000
MAX_ID = 255


class StrictFlag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false")
        return data


class NothingSerializer(RequestSerializer):
    """No body, or an empty object."""


class FixSerializer(RequestSerializer):
    fields = serializers.DictField(  # type: ignore[assignment]  # the contract's name; DRF's metaclass takes it away
        child=serializers.JSONField(allow_null=True),
        allow_empty=False,
        help_text="Payload path: value, such as customer.domain.",
    )
    confirmed = serializers.ListField(
        child=StrictText(max_length=255),
        required=False,
        max_length=100,
        help_text="Paths among them whose value is right though it looks like a placeholder.",
    )


class ChooseMatchSerializer(RequestSerializer):
    """One of the candidates, or a new object."""

    external_id = StrictText(max_length=MAX_ID, required=False)
    create = StrictFlag(required=False)  # type: ignore[assignment]  # likewise
    openapi_rules = {"oneOf": [{"required": ["external_id"]}, {"required": ["create"]}]}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("external_id" in attrs) == (attrs.get("create") is True):
            raise serializers.ValidationError("Give either external_id or create: true.")
        return attrs


class LinkObjectSerializer(RequestSerializer):
    external_id = StrictText(max_length=MAX_ID, help_text="The object's id at the vendor.")


class ReplaySerializer(RequestSerializer):
    from_step = StrictText(
        max_length=64, required=False, help_text="A step's key; without it, the exception's own step."
    )


class SkipSerializer(RequestSerializer):
    reason = StrictText(max_length=500)
    with_dependents = StrictFlag(required=False, help_text="Leave out those that need what it would make, too.")


class ReasonSerializer(RequestSerializer):
    reason = StrictText(max_length=500)


class OptionalReasonSerializer(RequestSerializer):
    reason = StrictText(max_length=500, required=False)


class RunEventSerializer(RequestSerializer):
    """A later business event of a run. The same ``event_id`` again is no second event."""

    type = serializers.ChoiceField(RunEventType.choices)
    event_id = StrictText(max_length=255)
    occurred_at = serializers.DateTimeField(required=False, help_text="Without it, now.")
    data = serializers.DictField(required=False)  # type: ignore[assignment]  # likewise


class AssignSerializer(RequestSerializer):
    """What is left out stays as it is."""

    queue = serializers.ChoiceField(list(QUEUES.items()), required=False)
    owner = StrictText(max_length=150, required=False, allow_null=True, help_text="A username; null for nobody.")

    openapi_rules = {"minProperties": 1}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Give a queue, an owner or both.")
        return attrs


class SnoozeSerializer(RequestSerializer):
    """Put aside; at the longest until its clock is due."""

    minutes = serializers.IntegerField(min_value=0, max_value=LONGEST_SNOOZE, help_text="0 takes it up again.")
    reason = StrictText(max_length=500, required=False, help_text="Needed, but for 0 minutes.")


class NoteSerializer(RequestSerializer):
    text = StrictText(max_length=MAX_NOTE)
