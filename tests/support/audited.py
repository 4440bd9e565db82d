"""Watching that whatever changes a run's rows is audited: the lean path takes a run's audit sequence for the version of them all.

PostgreSQL itself watches, at the end of each transaction: triggers that exist in tests alone note each row of a run that was
changed in a transaction in which the run's sequence did not move.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.models import Model

from onboarding.models import Intent, ObjectMapping, OnboardingTransaction, PayloadSnapshot, RunEvent, Step

KEPT: dict[type[Model], tuple[str, ...]] = {
    # The version itself, and when the row was last saved.
    OnboardingTransaction: ("audit_sequence", "audit_head", "updated_at"),
    # When a worker is told of the step, and whom it is behind meanwhile: asking early costs a look, and a claim writes all three.
    Step: ("due_at", "enqueued_until", "waits_on_id"),
    # What the claim's own holder narrows before its first send: nobody else writes an intent while the step is claimed.
    Intent: ("params", "request_hash", "created_at"),
    ObjectMapping: (),
    PayloadSnapshot: (),
    RunEvent: (),
}
"""What a worker keeps in memory of a run -> columns that may change without the sequence moving, and why."""

_BEGIN = """
CREATE TABLE watched_moves (xact bigint, run bigint);
CREATE TABLE watched_changes (id serial, run bigint, what text, columns text, statement text);

CREATE FUNCTION watch_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.audit_sequence <> OLD.audit_sequence THEN
        INSERT INTO watched_moves VALUES (txid_current(), NEW.id);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION watch_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    of_run bigint := (CASE WHEN TG_OP = 'DELETE' THEN before ELSE after END ->> TG_ARGV[0])::bigint;
    changed text;
BEGIN
    SELECT string_agg(name, ', ' ORDER BY name) INTO changed FROM jsonb_object_keys(before || after) name
    WHERE before -> name IS DISTINCT FROM after -> name
    AND (TG_OP <> 'UPDATE' OR name <> ALL (string_to_array(TG_ARGV[1], ',')));
    IF changed IS NOT NULL
    AND EXISTS (SELECT FROM onboarding_onboardingtransaction WHERE id = of_run)
    AND NOT EXISTS (SELECT FROM watched_moves WHERE xact = txid_current() AND run = of_run) THEN
        INSERT INTO watched_changes (run, what, columns, statement)
        VALUES (of_run, lower(TG_OP) || ' of ' || TG_TABLE_NAME, changed, current_query());
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER watch_move AFTER INSERT OR UPDATE ON onboarding_onboardingtransaction
FOR EACH ROW EXECUTE FUNCTION watch_move();
"""
_TRIGGER = """
CREATE CONSTRAINT TRIGGER watch_change AFTER INSERT OR UPDATE OR DELETE ON {table}
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION watch_change('{run}', '{kept}');
"""
_END = """
DROP FUNCTION watch_move, watch_change CASCADE;
DROP TABLE watched_moves, watched_changes;
"""


@contextmanager
def watching() -> Iterator[None]:
    """Inside, ``unaudited`` tells. For PostgreSQL."""
    triggers = [
        _TRIGGER.format(
            table=model._meta.db_table,
            run="id" if model is OnboardingTransaction else "transaction_id",
            kept=",".join(kept),
        )
        for model, kept in KEPT.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute("".join([_BEGIN, *triggers]))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(_END)


def unaudited() -> list[str]:
    """Changes of a run's rows in transactions that did not move its audit sequence, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT run, what, columns FROM watched_changes ORDER BY id")
        return [f"run {run}: {what}: {columns}" for run, what, columns in cursor.fetchall()]
