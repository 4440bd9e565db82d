"""What the audit trail tells about one object of the set-up, for pages that the admin itself lays out."""

from typing import Any

from django import template

register = template.Library()


@register.simple_tag
def history_of(model_admin: Any, shown: Any) -> list[dict[str, Any]]:
    # Only now: Django imports tag libraries while the admin's own modules are still being imported.
    from exceptions_queue.admin.ui import timeline

    return timeline.history_of(shown, getattr(model_admin, "audited_as", ""))
