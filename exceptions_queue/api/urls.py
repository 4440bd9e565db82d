"""The calls under ``/api/v1/`` that need a key."""

from django.urls import URLPattern, path, register_converter

from exceptions_queue.api.changes import ApplyChange, ChangeRequestDetail, ChangeRequestList, RejectChange
from exceptions_queue.api.endpoints import EndpointDetail, EndpointList, EndpointReplay
from exceptions_queue.api.onboardings import OnboardingDetail, OnboardingList
from exceptions_queue.api.run_actions import RUN_VIEWS
from exceptions_queue.api.tickets import TicketDetail, TicketList, TicketPreview, endpoint
from exceptions_queue.tickets.actions import ACTIONS


class TransactionId:
    regex = r"[A-Za-z0-9][A-Za-z0-9._:@~+-]{0,254}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class RowId:
    """A number that fits into the databases' integers."""

    regex = r"[1-9][0-9]{0,17}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(TransactionId, "transaction")
register_converter(RowId, "ticket")
register_converter(RowId, "change")
register_converter(RowId, "endpoint")

CHANGES = "onboardings/<transaction:onboarding_transaction_id>/change-requests"


def action_patterns() -> list[URLPattern]:
    """An endpoint for each action on tickets."""
    return [
        path(f"exceptions/<ticket:pk>/{name}/", endpoint(action).as_view(), name=f"exception-{name}")
        for name, action in ACTIONS.items()
    ]


urlpatterns = [
    path("onboardings/", OnboardingList.as_view(), name="onboardings"),
    path("onboardings/<transaction:onboarding_transaction_id>/", OnboardingDetail.as_view(), name="onboarding"),
    *(
        path(f"onboardings/<transaction:onboarding_transaction_id>/{name}/", view.as_view(), name=f"onboarding-{name}")
        for name, view in RUN_VIEWS.items()
    ),
    path(f"{CHANGES}/", ChangeRequestList.as_view(), name="onboarding-changes"),
    path(f"{CHANGES}/<change:pk>/", ChangeRequestDetail.as_view(), name="onboarding-change"),
    path(f"{CHANGES}/<change:pk>/apply/", ApplyChange.as_view(), name="onboarding-change-apply"),
    path(f"{CHANGES}/<change:pk>/reject/", RejectChange.as_view(), name="onboarding-change-reject"),
    path("endpoints/", EndpointList.as_view(), name="endpoints"),
    path("endpoints/<endpoint:pk>/", EndpointDetail.as_view(), name="endpoint"),
    path("endpoints/<endpoint:pk>/replay/", EndpointReplay.as_view(), name="endpoint-replay"),
    path("exceptions/", TicketList.as_view(), name="exceptions"),
    path("exceptions/<ticket:pk>/", TicketDetail.as_view(), name="exception"),
    path("exceptions/<ticket:pk>/preview/", TicketPreview.as_view(), name="exception-preview"),
    *action_patterns(),
]
