"""Mailgun's mails, for the conformance suite."""

from integrations.connectors.objects import Mail
from tests.integrations.vendors.conformance import Bench, Case


def mail(_: Bench, name: str) -> Mail:
    said = {"text": "Hello\n", "html": "<p>Hello</p>\n"}
    return Mail(to="jordan@acme-logistics.com", to_name=name, subject=f"Welcome, {name}", **said)


CASES = [Case("mailgun", "message", "messages", mail, lambda *_: ())]
