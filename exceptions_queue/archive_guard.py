"""Which finished runs the archive leaves alone because somebody still has to do something about them."""

from django.db.models import Exists, OuterRef, Q

from exceptions_queue.models import Alert, SlaClock, Ticket, is_blocked


def reasons() -> list[tuple[str, Q]]:
    """Each as people read it after "with", and as a condition on runs."""
    tickets = Ticket.objects.filter(transaction=OuterRef("pk")).unresolved()
    clocks = SlaClock.objects.filter(transaction=OuterRef("pk"), ended_at=None)
    alerts = Alert.objects.filter(clock__transaction=OuterRef("pk"), due_at__isnull=False)
    return [
        ("an open ticket", Q(Exists(tickets)) | is_blocked()),
        ("a running clock", Q(Exists(clocks))),
        ("an alert to be sent", Q(Exists(alerts))),
    ]
