"""The mails of Amazon SES, for the conformance suite."""

from integrations.connectors.objects import Mail
from tests.integrations.vendors.conformance import Bench, Case


def mail(_: Bench, name: str) -> Mail:
    said = {"text": "Hello\n", "html": "<p>Hello</p>\n"}
    return Mail(to="jordan@acme-logistics.com", to_name=name, subject=f"Welcome, {name}", **said)


CASES = [Case("ses", "message", "messages", mail, lambda *_: (), answered_as={401: 403})]
