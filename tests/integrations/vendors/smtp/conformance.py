"""The mails of a mail server, for the conformance suite: over real SMTP, to the catcher."""

from integrations.connectors.objects import Mail
from tests.integrations.vendors.conformance import Bench, Case


def mail(_: Bench, name: str) -> Mail:
    said = {"text": "Hello\n", "html": "<p>Hello</p>\n"}
    return Mail(to="jordan@acme-logistics.com", to_name=name, subject=f"Welcome, {name}", **said)


CASES = [Case("smtp", "message", "messages", mail, lambda *_: (), writes=("DATA",))]
