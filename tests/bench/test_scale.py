"""What the measure of many workers says of a statement that waits."""

import pytest

from tests.bench.scale import _shape

WAITING = {
    'SELECT "id" FROM "onboarding_step" WHERE "id" = 1 FOR NO KEY UPDATE': "SELECT FOR NO KEY UPDATE onboarding_step",
    'UPDATE "onboarding_step" SET "state" = 1': "UPDATE onboarding_step",
    'INSERT INTO "onboarding_attempt" ("step_id") VALUES (1)': "INSERT onboarding_attempt",
}


@pytest.mark.parametrize(("statement", "shape"), WAITING.items())
def test_a_statement_that_waits_is_named_by_its_kind_and_table(statement: str, shape: str) -> None:
    assert _shape(statement) == shape
