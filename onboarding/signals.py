"""News that travels up from the engine, sent inside the atomic block that made it true.

``resolution``: in a sentence, what became of what people were asked; whoever sends it knows that, and no receiver guesses.
"""

from django.dispatch import Signal

run_accepted = Signal()
"""``run``: a new transaction; its clocks start."""

run_blocked = Signal()
"""``run``, ``category``, ``topic``, ``message``, ``problems``: people must fix the payload, or decide (or the run stalled)."""

run_unblocked = Signal()
"""``run``: it is provisioned from now on; what blocked the run itself is gone."""

run_provisioned = Signal()
"""``run``: every provisioning step succeeded or was skipped."""

run_decided = Signal()
"""``run``, ``resolution``: what was asked about the run as a whole is decided; with a ``topic``, that question alone, and with
``asked`` only where it says that. Receivers return the ``Questions`` that this answered, and those that stay open.
"""

approval_asked = Signal()
"""``approval``: a person has to decide about a step."""

approval_decided = Signal()
"""``approval``: approved, rejected, or withdrawn."""

change_requested = Signal()
"""``request``: other data, or what a person wants changed, waits for a decision."""

change_decided = Signal()
"""``request``, ``by_hand`` (sentences): decided, or out of date; what no step writes is a person's to do at the vendor."""

step_blocked = Signal()
"""``step``: a person must act; the step's row says why. ``fallback`` (bool): open the catch-all ticket, routing just failed."""

step_unblocked = Signal()
"""``step``, ``resolution``: it passed, is left out or removed, or runs again without needing anybody."""

step_retrying = Signal()
"""``step``, ``requested`` (bool): a blocked step is about to be tried again, or was and failed in the same way."""

kickoff_scheduled = Signal()
"""``run``, ``at``: the kickoff has its date; ``at`` is when that was fixed."""

invoice_ready = Signal()
"""``run``, ``at``: its order at the ERP can be invoiced."""
wait_overdue = Signal()
"""``step``: what it waits for has not come by its deadline. Receivers return whether an open ticket covers that already."""

run_cancelled = Signal()
"""``run``, ``at``, ``resolution``: it was cancelled or is rolled back; nothing of it needs anybody any more."""

run_resumed = Signal()
"""``run``, ``held_at``: it is on hold no more; it was since then."""

event_reported = Signal()
"""``run``, ``kind``, ``actor``: another system reported an event of it, for the first time."""

mail_bounced = Signal()
"""``mapping``, ``message``, ``problems``: a mail that a step sent did not arrive, or is not wanted."""

mail_unwanted = Signal()
"""``run``: its contact wants no mail; they reported one as spam, or unsubscribed."""

audit_finding_kept = Signal()
"""``finding``: a verification found the audit trail changed."""
