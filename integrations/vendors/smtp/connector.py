"""SMTP (email): one mail to a customer's contact, through the installation's own mail server.

Where mails go is this installation's ``EMAIL_URL``, not the connection's: a relay is often private, and nobody at the
console may lead mails elsewhere. SMTP knows no idempotency key and nothing to look up: a mail whose outcome is indeterminate
is never sent again by itself.
"""

from collections.abc import Callable
from typing import Self

from integrations.connectors.base import Created
from integrations.connectors.mail.messages import MailConnector
from integrations.connectors.objects import VendorObject
from integrations.errors import Kind
from integrations.http.mail import VendorMail
from integrations.models import Connection


class Smtp(MailConnector):
    provider = "smtp"
    probes = "that the mail server at EMAIL_URL lets us log in and takes the sender; no mail is sent"
    advice = {
        Kind.AUTH: "Check the user name and password in EMAIL_URL.",
        Kind.FORBIDDEN: "Check that the mail server lets this installation send, and the option from_email.",
        Kind.SERVER: "Check EMAIL_URL and the network, or try later.",
        Kind.MALFORMED: "Something else answers there: check EMAIL_URL.",
    }

    def __init__(self, connection: Connection, mail: VendorMail) -> None:
        super().__init__(connection)
        self.mail = mail

    @classmethod
    def on(
        cls, connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None = None
    ) -> Self:
        return cls(connection, VendorMail(connection, subject=subject, deadline=deadline, before_write=before_write))

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it sends a second mail."""
        mail = self.composed(wanted, reference)
        self.mail.send(mail.message, sender=mail.sender, recipient=mail.recipient, request={"reference": reference})
        return Created(mail.message_id)

    def probe(self) -> str:
        self.header_option("reply_to")
        return self.mail.probe(self.sender())
