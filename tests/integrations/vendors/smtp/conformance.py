"""The mails of a mail server, for the conformance suite: over real SMTP, to the catcher."""

from integrations.connectors.objects import Mail
from tests.integrations.vendors.conformance import Bench, Case


def mail(_: Bench, name: str) -> Mail:
    return Mail(to="jordan@acme-logistics.com", to_name=name, subject=f"Welcome, {name}", text="Hello\n")


CASES = [Case("smtp", "message", "messages", mail, lambda *_: (), writes=("DATA",))]
