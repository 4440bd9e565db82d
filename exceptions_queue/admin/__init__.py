"""The operator's console: the Django admin, laid out around the queue."""

from exceptions_queue.admin.connections import connection_admin, endpoints, events_and_alerts
from exceptions_queue.admin.home import setup
from exceptions_queue.admin.home.navigation import sidebar
from exceptions_queue.admin.runs import run_admin
from exceptions_queue.admin.tickets import ticket_admin
from exceptions_queue.admin.welcome import mail_admin

__all__ = [
    "connection_admin",
    "endpoints",
    "events_and_alerts",
    "mail_admin",
    "run_admin",
    "setup",
    "sidebar",
    "ticket_admin",
]
