"""News that travels up, sent inside the atomic block that made it true: a receiver that fails rolls it back."""

from django.dispatch import Signal

inbound_event_received = Signal()
"""``event``: a stored, verified InboundEvent."""

breaker_opened = Signal()
"""``connection``, ``status`` (int or None): the credentials were refused; what needs this connection is parked."""

breaker_closed = Signal()
"""``connection``, ``actor`` (str): the probe passed; what was parked may go on."""
