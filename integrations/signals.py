"""News that travels up, sent inside the atomic block that made it true: a receiver that fails rolls it back."""

from django.dispatch import Signal

inbound_event_received = Signal()
"""``event``: a stored, verified InboundEvent."""

event_failed = Signal()
"""``event``: an InboundEvent that will not be processed again by itself; ``message`` (str): why, for a person."""

event_recovered = Signal()
"""``event``: an InboundEvent that had failed for good and has now been processed after all."""

deals_not_looked_up = Signal()
"""``connection``, ``message``: a CRM was asked for its won deals without success, several times."""

deals_looked_up = Signal()
"""``connection``: it was asked without success before, and answers again."""

connection_set = Signal()
"""``connection``, ``actor`` (str), ``secrets`` (names of those entered), ``voided`` (bool): it was made or changed."""

breaker_opened = Signal()
"""``connection``, ``status`` (int or None): it opened, or its cause became another; what needs the connection is parked."""

breaker_closed = Signal()
"""``connection``, ``actor`` (str): the vendor works again; what was parked may go on."""

endpoint_changed = Signal()
"""``endpoint``, ``what`` (made, changed, removed, replayed), ``actor`` (str), ``facts``: somebody did that to a webhook
endpoint."""
