"""The enumerations' names in OpenAPI: several fields are called ``status`` or ``state``."""

from drf_spectacular.settings import spectacular_settings

spectacular_settings.ENUM_NAME_OVERRIDES = {  # type: ignore[attr-defined]  # made when it is first read
    "RunStatus": "onboarding.words.Status",
    "StepState": "onboarding.words.StepState",
    "TicketStatus": "exceptions_queue.models.TicketStatus",
    "ChangeRequestStatus": "onboarding.api.serializers.CHANGE_REQUEST_STATUSES",
    "SlaState": "exceptions_queue.api.sla_state.SlaState",
}
