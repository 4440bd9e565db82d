"""The web in front of a peer: the POST that ours takes, handed to the peer's own library.

It does for whoever posts what ours does: the key is looked up by its digest in the installation's own table, the body is
validated against the same schema, and the answer comes once the onboarding is accepted. It has nothing else: no middleware, no
session, no page. ``contenders.peer`` runs it with the command of our own web. ``BENCH_PEER`` says whose it is: ``bare``,
``canvas`` or a workflow of ``durable``. gunicorn loads it in each process after the fork; a process' threads share the client.
"""

import hashlib
import os
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from environs import Env

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {**Env().dj_db_url("DATABASE_URL"), "CONN_MAX_AGE": None}},
    LOGGING_CONFIG=None,
    # What our own worker class asks for.
    MAX_BODY_BYTES=1024 * 1024,
    REQUEST_SECONDS=20.0,
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
    ROOT_URLCONF=__name__,
)
django.setup()
# Set by the package of our worker class; Celery takes it for a sign to load Django into the peer's application, too.
os.environ.pop("DJANGO_SETTINGS_MODULE", None)

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402  (these read the settings)
from django.db import models  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from pydantic import ValidationError as PydanticError  # noqa: E402
from rest_framework.authentication import BaseAuthentication, get_authorization_header  # noqa: E402
from rest_framework.exceptions import AuthenticationFailed, ValidationError  # noqa: E402
from rest_framework.parsers import JSONParser  # noqa: E402
from rest_framework.renderers import JSONRenderer  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from config.run import WEB_THREADS  # noqa: E402
from onboarding.payload.schema import OnboardingPayload  # noqa: E402

ID = "onboarding_transaction_id"
Content = dict[str, Any]
Accept = Callable[[Content], bool]
"""Hands an onboarding over. False where the library knows its id already: nothing is begun again."""


def acceptance(peer: str) -> Accept:
    """Celery has no such knowledge: the id names the task, and the same onboarding posted again is done again."""
    if peer == "bare":
        from tests.bench.peers.bare import onboard

        return lambda content: bool(onboard.apply_async((content,), task_id=content[ID]))
    if peer == "canvas":
        from tests.bench.peers.canvas import onboarding

        return lambda content: bool(onboarding(content).apply_async(task_id=content[ID]))
    return _workflow(peer)


def _workflow(name: str) -> Accept:
    from dbos import DBOSClient, EnqueueOptions, error

    from tests.bench.peers import durable

    client = DBOSClient(
        system_database_url=os.environ["BENCH_DBOS"],
        system_database_pool_size=WEB_THREADS,  # no thread waits for another's connection
        application_name=durable.APPLICATION,
    )

    def accept(content: Content) -> bool:
        options = EnqueueOptions(
            queue_name=durable.QUEUE,
            workflow_name=name,
            workflow_id=content[ID],
            workflow_id_reuse_policy="reject",  # costs no statement more than to return the one that is there
        )
        try:
            client.enqueue(options, content)
        except error.DBOSWorkflowIDInUseError:
            return False
        return True

    return accept


class ApiKey(models.Model):
    """What is read of the installation's keys (``onboarding.models.ApiKey``)."""

    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "door"
        db_table = "onboarding_apikey"
        managed = False

    def __str__(self) -> str:
        return self.name


class Bearer(BaseAuthentication):
    """``Authorization: Bearer KEY``; without one nobody comes in."""

    def authenticate(self, request: Request) -> tuple[str, str]:
        header = get_authorization_header(request).split()
        if len(header) != 2 or header[0].lower() != b"bearer":
            raise AuthenticationFailed
        digest = hashlib.sha256(header[1]).hexdigest()
        try:
            name = ApiKey.objects.values_list("name", flat=True).get(digest=digest, revoked_at=None)
        except ApiKey.DoesNotExist:
            raise AuthenticationFailed from None
        return name, name

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"


class Onboardings(APIView):
    authentication_classes = [Bearer]
    permission_classes = []
    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]

    def post(self, request: Request) -> Response:
        try:
            content = OnboardingPayload.model_validate(request.data).content()
        except PydanticError as error:
            raise ValidationError({".".join(map(str, each["loc"])): each["msg"] for each in error.errors()}) from None
        is_new = accept(content)
        return Response({ID: content[ID], "status": "queued"}, 201 if is_new else 200)


def ready(request: HttpRequest) -> HttpResponse:
    """Once this answers, the client is made."""
    return HttpResponse()


accept = acceptance(os.environ["BENCH_PEER"])
urlpatterns = [
    path("api/v1/onboardings/", Onboardings.as_view()),
    path("readyz", ready),
]
application = WSGIHandler()
