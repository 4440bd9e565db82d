"""The operator's console: the Django admin, laid out around the queue."""

from exceptions_queue.admin import connections, evidence, runs, setup, tickets
from exceptions_queue.admin.navigation import sidebar

__all__ = ["connections", "evidence", "runs", "setup", "sidebar", "tickets"]
