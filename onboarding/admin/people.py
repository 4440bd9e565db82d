"""Tables of people at vendors: the vendor is asked before an id is saved."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse

from integrations.connections.people import PersonCheck, Standing, check_person
from integrations.enums import System


class PersonAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Refuses a new id that the vendor does not know. One that could not be checked is saved, and said to be unchecked.

    The vendor is asked before Django opens the form's transaction, and only where the id is another than before: the row of
    somebody who has left the vendor can still be switched off.
    """

    person_system: ClassVar[System]
    person_field: ClassVar[str]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        entered = request.POST.get(self.person_field, "").strip() if request.method == "POST" else ""
        allowed = self.has_change_permission(request) if object_id else self.has_add_permission(request)
        if entered and allowed and entered != self._stored(request, object_id):
            request.person_check = check_person(self.person_system, entered)  # type: ignore[attr-defined]
        answer: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return answer

    def _stored(self, request: HttpRequest, object_id: str | None) -> str | None:
        row = self.get_object(request, object_id) if object_id else None
        return getattr(row, self.person_field, None)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        base = super().get_form(request, obj, change=change, **kwargs)
        check: PersonCheck | None = getattr(request, "person_check", None)
        if check is None or check.standing is not Standing.UNKNOWN:
            return base
        field = self.person_field

        def clean(_form: Any) -> str:
            raise ValidationError(check.message)

        return type(base.__name__, (base,), {f"clean_{field}": clean})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        check: PersonCheck | None = getattr(request, "person_check", None)
        if check is not None and check.standing is Standing.UNCHECKED:
            messages.warning(request, f"Saved without a check. {check.message}")
