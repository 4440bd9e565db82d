"""Set-up: who owns what, and who may come in."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from exceptions_queue.models import CrmOwner, Queue
from integrations.enums import System
from onboarding.admin.audited import AuditedAdmin
from onboarding.admin.people import PersonAdmin


@admin.register(CrmOwner)
class CrmOwnerAdmin(AuditedAdmin, PersonAdmin, ModelAdmin):
    audited_as = "exceptions.crm-owner"
    person_system, person_field = System.CRM, "crm_owner_id"
    list_display = ("crm_owner_id", "user")
    list_select_related = ("user",)
    search_fields = ("crm_owner_id__startswith", "user__username__startswith")
    list_fullwidth = True


@admin.register(Queue)
class QueueAdmin(AuditedAdmin, ModelAdmin):
    """The queues are fixed by the code; what is set here is where their mail goes."""

    audited_as = "exceptions.queue"
    list_display = ("__str__", "email")
    fields = ("email",)
    list_fullwidth = True

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Queue | None = None) -> bool:  # noqa: ARG002
        return False


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(AuditedAdmin, BaseUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    audited_as = "exceptions.user"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "email", "is_active")
    list_fullwidth = True


@admin.register(Group)
class GroupAdmin(AuditedAdmin, BaseGroupAdmin, ModelAdmin):
    audited_as = "exceptions.group"
    list_fullwidth = True
