"""A compiled queryset gives what the queryset gives, and whatever could not be compiled safely is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, F, QuerySet, Value
from django.db.models.functions import Concat, Now

from integrations import clock
from integrations.database.compiled_queries import Compiled, NotCompilable
from onboarding.api import authentication
from onboarding.enums import Scope
from onboarding.ids import comparable
from onboarding.models import ApiKey, OnboardingTransaction, Step

pytestmark = pytest.mark.django_db


def test_a_per_cent_sign_in_the_statement_itself() -> None:
    new_key_named("100 %")
    compiled = Compiled(
        lambda name: ApiKey.objects.filter(name=name).extra(select={"sign": "'%%'"}).values_list("name", "sign")
    )
    assert compiled("100 %") == [("100 %", "%")]


def test_a_flat_list() -> None:
    new_key_named("x")
    assert Compiled(lambda name: ApiKey.objects.filter(name=name).values_list("name", flat=True))("x") == ["x"]


def new_key_named(name: str) -> ApiKey:
    return authentication.new_key(name, Scope.READ)[1]


Build = Callable[..., QuerySet[Any, Any]]
REFUSED: dict[str, tuple[Build, tuple[Any, ...]]] = {
    "a value that is changed on its way": (lambda key: ApiKey.objects.filter(name=key.lower()), ("a",)),
    "a value in another form": (lambda key: OnboardingTransaction.objects.filter(id_key=comparable(key)), ("a",)),
    "a value without the white space around it": (lambda key: ApiKey.objects.filter(name=key.strip()), ("a",)),
    "a part of a pattern": (lambda key: ApiKey.objects.filter(name__contains=key), ("a",)),
    "a value made from two": (lambda one, two: ApiKey.objects.filter(name=one + two), ("a", "b")),
    "a number as text": (lambda key: ApiKey.objects.filter(name=key), (1,)),
    "a text as a document": (lambda key: ApiKey.objects.filter(fills=key), ("a",)),
    "a number in the statement itself": (lambda most: ApiKey.objects.all()[:most], (3,)),
    "an order that depends on a value": (lambda key: ApiKey.objects.order_by("pk" if key < 1_000_004 else "-pk"), (1,)),
    "a value that is not used": (lambda key: ApiKey.objects.all(), ("a",)),  # noqa: ARG005
    "two of which one is not used": (lambda one, two: ApiKey.objects.filter(name=one), ("a", "b")),  # noqa: ARG005
    "the time of day": (lambda pk: ApiKey.objects.filter(pk=pk, revoked_at__lt=clock.now()), (1,)),
    "nothing at all": (lambda pk: ApiKey.objects.filter(pk=pk).none(), (1,)),
    "dictionaries": (lambda pk: ApiKey.objects.filter(pk=pk).values("name"), (1,)),
    "what is prefetched": (lambda pk: OnboardingTransaction.objects.filter(pk=pk).prefetch_related("steps"), (1,)),
    "rows of a known instance": (lambda pk: OnboardingTransaction(pk=pk).steps.all(), (1,)),
    "a lock": (lambda pk: ApiKey.objects.select_for_update().filter(pk=pk), (1,)),
    "no value": (lambda pk: Step.objects.filter(waits_on=pk), (None,)),
    "a list": (lambda pks: Step.objects.filter(pk__in=pks), ([1],)),
    "a truth value": (lambda pk: Step.objects.filter(pk=pk), (True,)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    build, values = REFUSED[what]
    with pytest.raises(NotCompilable):
        Compiled(build)(*values)


def test_a_function_of_the_database_is_no_value() -> None:
    new_key_named("x")
    compiled = Compiled(
        lambda name: ApiKey.objects.filter(name=name).annotate(
            twice=Concat(F("name"), Value(":"), F("name")), soon=Now(), n=Count("pk")
        ).values_list("twice", "n")
    )  # fmt: skip
    assert compiled("x") == [("x:x", 1)]


def test_each_answer_is_its_own() -> None:
    """No instance is shared between two callers."""
    key = new_key_named("x")
    compiled = Compiled(lambda pk: ApiKey.objects.filter(pk=pk))
    (one,) = compiled(key.pk)
    one.fills.append("y")

    assert compiled(key.pk)[0].fills == []


def test_what_refuses_statements_refuses_it_too() -> None:
    class Refused(Exception):
        pass

    def refuse(*_: Any) -> Any:
        raise Refused

    compiled = Compiled(lambda pk: ApiKey.objects.filter(pk=pk))
    assert compiled(0) == []
    with connection.execute_wrapper(refuse), pytest.raises(Refused):
        compiled(0)


def test_a_failed_statement_is_an_error_of_djangos() -> None:
    compiled = Compiled(lambda pk: ApiKey.objects.filter(pk=pk).extra(where=["1 / (id - id) = 0 OR no_such_column"]))
    with pytest.raises(DatabaseError), transaction.atomic():
        compiled(1)
