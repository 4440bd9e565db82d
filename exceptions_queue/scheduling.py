"""The scheduler's pass over everything that is due.

Work is enqueued through the broker; what no broker takes is done here, a few things at once: with Redis gone everything still
happens, only slower.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import close_old_connections, connection

from exceptions_queue.notifications import alerts
from exceptions_queue.sla import clocks as sla
from exceptions_queue.welcome import sending
from integrations import clock
from integrations.http import retention
from integrations.outbound import delivery
from onboarding.engine import connection_queue, execution
from onboarding.engine.periodic import polling, sweep
from onboarding.intake import deal_lookup, events, unmatched

RETENTION_SECONDS = 600.0
DEALS_SECONDS = 10.0
"""How often it is looked which CRM is to be asked for won deals; each says itself how often it is."""
OWN_THREADS = 4
OWN_BATCH = 40
"""Done here in one pass where no broker takes it, so that clocks are looked at in between."""
log = logging.getLogger(__name__)


@dataclass
class Done:
    """Counts of one pass; steps and events are those done here, not those handed to workers."""

    events: int = 0
    steps: int = 0
    clocks: int = 0
    alerts: int = 0
    webhooks: int = 0
    welcome_mails: int = 0


def one_pass(*, publish: bool = True, mail: bool = True, most: int | None = None) -> Done:
    """Find what is due and enqueue it, or do it here: all of it with ``publish=False``, else what no broker took.

    ``mail``: whether to look for won deals, to send alerts, webhooks and welcome mails and to delete old records of calls, which
    the scheduler does in threads of their own.
    ``most``: how many steps and events to do here in this pass; the others stay due.
    """
    done = Done(clocks=sla.tick())
    unmatched.apply_forgotten()
    unmatched.expire_due(clock.now())
    if mail:
        deal_lookup.look()
    due = sweep.sweep()
    if publish:
        due = sweep.publish(due)
    if most is not None:
        sweep.release(sweep.Due(due.steps[most:], due.events[most:], polls=due.polls[most:]))
        due = sweep.Due(due.steps[:most], due.events[:most], due.probes, due.polls[:most])
    if mail:
        done.alerts = alerts.deliver()
        done.webhooks = delivery.deliver()
        done.welcome_mails = sending.deliver()
        retention.delete_old_calls(clock.now())
    done.events, done.steps = len(due.events), len(due.steps)
    if due:
        with ThreadPoolExecutor(OWN_THREADS, thread_name_prefix="sweep") as pool:
            list(pool.map(_each_of("The probe of connection", connection_queue.probe), due.probes))
            list(pool.map(_each_of("Event", events.process_event), due.events))
            list(pool.map(_each_of("Step", execution.run_step), due.steps))
            list(pool.map(_each_of("The poll of step", polling.poll), due.polls))
    return done


def run_forever(stop: threading.Event, *, every: float) -> None:
    """Pass after pass, ``every`` seconds apart, until ``stop`` is set. A pass that fails is logged; the next one tries again.

    Alerts, welcome mails, webhooks, the look for won deals and retention have a thread each: a slow server, or much to delete,
    must hold up neither clocks nor work.
    """
    mail = threading.Thread(target=_beside, args=("mail", alerts.deliver, stop, every), name="mail", daemon=True)
    mail.start()
    webhooks = ("webhooks", delivery.deliver, stop, every)
    threading.Thread(target=_beside, args=webhooks, name="webhooks", daemon=True).start()
    deals = ("deals", deal_lookup.look, stop, DEALS_SECONDS)
    threading.Thread(target=_beside, args=deals, name="deals", daemon=True).start()
    welcome = ("welcome mails", sending.deliver, stop, every)
    threading.Thread(target=_beside, args=welcome, name="welcome-mails", daemon=True).start()
    delete = partial(_delete_old_calls, stop)
    beside = ("retention", delete, stop, RETENTION_SECONDS)
    threading.Thread(target=_beside, args=beside, name="retention", daemon=True).start()
    _repeat("sweep", lambda: one_pass(publish=settings.BROKER_PUBLISH, mail=False, most=OWN_BATCH), stop, every)
    execution.stopping.set()
    mail.join(settings.EMAIL_TIMEOUT)


def _repeat(name: str, work: Callable[[], object], stop: threading.Event, every: float) -> None:
    while not stop.is_set():
        try:
            work()
        except Exception:
            log.exception("The %s could not finish", name)
        finally:
            close_old_connections()
        stop.wait(every)


def _beside(name: str, work: Callable[[], object], stop: threading.Event, every: float) -> None:
    _repeat(name, work, stop, every)
    connection.close()  # this thread's own


def _delete_old_calls(stop: threading.Event) -> None:
    """Until none is left; others get at the database in between."""
    while not stop.is_set() and retention.delete_old_calls(clock.now()):
        stop.wait(retention.PAUSE_SECONDS)


def _each_of(what: str, work: Callable[[int], object]) -> Callable[[int], None]:
    """``work`` on one row of many, in a thread of the pass: its failure keeps nobody else from theirs."""

    def one(pk: int) -> None:
        try:
            work(pk)
        except Exception:
            log.exception("%s %s failed; the sweep tries it again", what, pk)
        finally:
            connection.close()  # this thread's own

    return one
