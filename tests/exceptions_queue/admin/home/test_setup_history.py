"""Who changed the set-up: entries of the admin's plain forms, and a history on each page that they concern."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from exceptions_queue.admin.ui.timeline import AUDIT_WORDS
from exceptions_queue.models import CrmOwner, Queue
from integrations.models import Connection
from onboarding import audit
from onboarding.admin.audited import VERBS, AuditedAdmin
from onboarding.models import ApiKey, AuditEntry, ImplementationOwner, PlanPrice
from tests.exceptions_queue.admin.conftest import As, text
from tests.exceptions_queue.admin.connections.test_connections import url

PRICES = "/admin/onboarding/planprice/"


def told(name: str) -> list[tuple[str, dict[str, Any]]]:
    return list(AuditEntry.objects.filter(name=name).order_by("pk").values_list("actor", "data"))


def test_a_price_tells_who_added_changed_and_removed_it(as_: As) -> None:
    engineer = as_("engineer")
    fields = {"price_id": "price_1", "plan_sku": "growth", "term": "annual"}
    engineer.post(f"{PRICES}add/", fields)
    price = PlanPrice.objects.get()
    page = f"{PRICES}{price.pk}/change/"
    engineer.post(page, {**fields, "plan_sku": "enterprise"})
    engineer.post(page, {**fields, "plan_sku": "enterprise"})  # the same again changes nothing
    shown = text(engineer.get(page))
    assert "History" in shown
    assert "The price was added by engineer" in shown
    assert "The price was changed Plan sku · by engineer" in shown
    engineer.post(f"{PRICES}{price.pk}/delete/", {"post": "yes"})
    assert told("onboarding.price.added") == [("engineer", {"object": price.pk})]
    assert told("onboarding.price.changed") == [("engineer", {"object": price.pk, "fields": ["Plan sku"]})]
    assert told("onboarding.price.removed") == [("engineer", {"object": price.pk})]
    assert list(audit.broken_links()) == []


def test_rows_removed_together_are_told_one_by_one(as_: As) -> None:
    pks = [PlanPrice.objects.create(price_id=name, plan_sku="growth", term="annual").pk for name in ("a", "b")]
    chosen = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    as_("engineer").post(PRICES, chosen)
    assert not PlanPrice.objects.exists()
    assert [data["object"] for _, data in told("onboarding.price.removed")] == pks


def test_a_user_tells_which_fields_were_changed_and_no_value(as_: As, people: dict[str, User]) -> None:
    changer, changed = as_("admin"), people["sales"]
    page = f"/admin/auth/user/{changed.pk}/change/"
    form = changer.get(page).context["adminform"].form
    fields = {name: value for name, value in form.initial.items() if value not in (None, "", False)}
    fields |= {
        "email": "quirina@elsewhere.example",
        "last_name": "Vexborough",
        "groups": [Group.objects.get(name="leads").pk],
    }
    for name in ("last_login", "date_joined"):
        if at := fields.pop(name, None):
            fields |= {f"{name}_0": f"{at:%Y-%m-%d}", f"{name}_1": f"{at:%H:%M:%S}"}
    fields.pop("user_permissions", None)
    changer.post(page, fields)
    changed.refresh_from_db()
    assert changed.last_name == "Vexborough"
    ((actor, data),) = told("exceptions.user.changed")
    assert (actor, data["object"]) == ("admin", changed.pk)
    assert {"Email address", "Last name", "Groups"} <= set(data["fields"])
    assert "Vexborough" not in str(data)
    changer.post(
        f"/admin/auth/user/{changed.pk}/password/", {"password1": "n3w-Passw0rd!", "password2": "n3w-Passw0rd!"}
    )
    assert "n3w" not in str(told("exceptions.user.changed"))
    assert len(told("exceptions.user.changed")) == 2
    assert "The user was changed" in text(changer.get(page))


def test_a_connection_tells_who_set_and_tested_it(hubspot: Connection, as_: As) -> None:
    engineer = as_("engineer")
    engineer.post(url(hubspot, "test"))
    shown = text(engineer.get(url(hubspot)))
    assert "The connection was set up or changed" in shown
    assert "by tests" in shown
    assert "The connection was tested" in shown
    assert "by engineer" in shown


def test_an_api_key_tells_who_made_and_revoked_it(as_: As) -> None:
    call_command("create_api_key", "billing", "--scope=intake")
    key = ApiKey.objects.get()
    page = f"/admin/onboarding/apikey/{key.pk}/"
    as_("admin").post(f"{page}revoke/")
    shown = text(as_("admin").get(f"{page}change/"))
    assert "An API key was made" in shown
    assert "by command" in shown
    assert "An API key was revoked" in shown


def test_histories_are_separate(as_: As) -> None:
    """The same primary key in two tables, and two rows of one."""
    price = PlanPrice.objects.create(price_id="a", plan_sku="growth", term="annual")
    audit.record_global("exceptions.group.changed", actor="lee", data={"object": price.pk, "fields": ["Name"]})
    audit.record_global("onboarding.price.changed", actor="lee", data={"object": price.pk + 1, "fields": ["Term"]})
    assert "Nothing yet." in text(as_("engineer").get(f"{PRICES}{price.pk}/change/"))


@pytest.mark.parametrize("model", [PlanPrice, ImplementationOwner, CrmOwner, Queue, User, Group])
def test_every_plain_form_is_audited_in_plain_words(model: Any) -> None:
    form = admin.site.get_model_admin(model)
    assert isinstance(form, AuditedAdmin)
    assert {f"{form.audited_as}.{verb}" for verb in VERBS} <= set(AUDIT_WORDS)
