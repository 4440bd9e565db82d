"""From an accepted payload to provisioning: local enrichment, the gate, then steps, a look-up in the CRM, or people."""

from collections.abc import Mapping

from integrations import clock
from integrations.connections.services import default_connection
from integrations.enums import System
from onboarding import audit, working_set
from onboarding.engine.advancing import advance, make_due
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.runs import owner_assignment
from onboarding.enums import Category, OriginKind, Status, Topic
from onboarding.models import Attempt, OnboardingTransaction, Step
from onboarding.origins import Origin
from onboarding.payload import catalogue, enrichment
from onboarding.payload.gate import Problem
from onboarding.payload.schema import with_values
from onboarding.payload.snapshots import write_snapshot
from onboarding.playbooks import playbook as playbooks
from onboarding.playbooks.requirements import problems_of
from onboarding.signals import run_blocked, run_unblocked, step_unblocked

LOOKUP = "crm.lookup"


def evaluate_gate(run: OnboardingTransaction, *, actor: str = audit.SYSTEM) -> None:
    """Evaluate the gate for a new or fixed payload and continue. The caller holds the run locked (or has just made
    it) and saves it.
    """
    if run.status not in (Status.QUEUED, Status.AWAITING_DATA):
        return
    missing = problems_of(run)
    if facts := enrichment.known_here(run.payload, missing):
        write_looked_up(run, facts)
        missing = problems_of(run)
    if not missing:
        _start(run, actor=actor)
    elif enrichment.needs_crm(run.payload, missing) and _may_look_up(run):
        if run.status == Status.AWAITING_DATA:
            _ask_people(run, missing)  # with the shorter list; the CRM may shorten it further
    elif run.gathers_until is None or run.gathers_until <= clock.now():
        _ask_people(run, missing)


def write_looked_up(run: OnboardingTransaction, facts: Mapping[str, tuple[str, Origin]]) -> None:
    """The next version with what was found out: path -> (value, where it comes from)."""
    write_snapshot(
        run,
        with_values(run.payload, {path: value for path, (value, _) in facts.items()}),
        origin=Origin(OriginKind.LOOKUP),
        actor=audit.SYSTEM,
        changed=facts,
        provenance={path: origin for path, (_, origin) in facts.items()},
    )


def _ask_people(run: OnboardingTransaction, missing: list[Problem]) -> None:
    """Open the ticket with what is missing; again with the shorter list when some of it came in."""
    if run.status == Status.QUEUED:
        run.await_data()
        audit.record(run, "onboarding.run.awaiting-data", data={"paths": [problem.path for problem in missing]})
    message = f"{catalogue.labels(problem.path for problem in missing)}: missing or implausible."
    asked = None
    if run.made is None:
        attempts = Attempt.objects.filter(step__transaction=run, step__key=LOOKUP)
        asked = attempts.exclude(message="").order_by("-pk").first()
    run_blocked.send(
        OnboardingTransaction,
        run=run,
        category=Category.MISSING_DATA,
        topic=Topic.NONE,
        message=f"{message} {asked.message}" if asked else message,
        problems=[problem.as_dict() for problem in missing],
    )


def _may_look_up(run: OnboardingTransaction) -> bool:
    """True where the CRM is being asked, or is from now on; False once it has answered, or where there is none."""
    step = next(iter(_lookups(run)), None)
    if step:
        return not step.is_done
    connection = default_connection(System.CRM)
    if connection is None:
        return False
    step = Step(transaction=run, key=LOOKUP, uses=LOOKUP, system=System.CRM, position=0, connection=connection)
    make_due(step, clock.now())
    working_set.of(run).insert(step)
    run.note_made("steps", step)
    enqueue_step(step.pk)
    audit.record(run, "onboarding.step.planned", data={"step": LOOKUP})
    return True


def _lookups(run: OnboardingTransaction) -> list[Step]:
    """The step that asks the CRM, where there is one. A run that was just made has none yet."""
    return list(run.steps.filter(key=LOOKUP)) if run.made is None else []


def _start(run: OnboardingTransaction, *, actor: str) -> None:
    choice = playbooks.choose(run.payload)
    if choice is None:
        run_blocked.send(
            OnboardingTransaction,
            run=run,
            category=Category.NOT_CONFIGURED,
            topic=Topic.NONE,
            message=f"No playbook serves the plan “{run.plan_sku}” and the segment “{run.segment}”.",
            problems=[Problem("commercial.plan_sku", "no playbook serves it").as_dict()],
        )
        return
    playbook = choice.playbook
    owner_assignment.assign(run)
    run.start_provisioning(playbook=playbooks.pin(playbook))
    audit.record(
        run,
        "onboarding.run.provisioning",
        actor=actor,
        data={
            "playbook": playbook.name,
            "version": playbook.version,
            "hash": playbook.content_hash,
            "reason": choice.reason,
        },
    )
    lookups = _lookups(run)
    for step in lookups:
        if not step.is_done:
            step.skip(at=clock.now())
            step.save()
            audit.record(run, "onboarding.step.skipped", data={"step": step.key})
            step_unblocked.send(Step, step=step, resolution="The step was skipped.")
    steps = playbook.steps_for(run, run.payload)
    working_set.of(run).insert(*steps)
    run.note_made("steps", *steps)
    if run.made is None:  # else nothing can have blocked it
        run_unblocked.send(OnboardingTransaction, run=run)
    advance(run, steps=[*lookups, *steps])
