"""SMTP (email): one mail to a customer's contact, through the installation's own mail server.

Where mails go is this installation's ``EMAIL_URL``, not the connection's: a relay is often private, and nobody at the
console may lead mails elsewhere. SMTP knows no idempotency key and nothing to look up: a mail whose outcome is indeterminate
is never sent again by itself.
"""

import hashlib
import unicodedata
from collections.abc import Callable
from email.charset import QP, Charset
from email.utils import formataddr, parseaddr
from typing import Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.mail.message import sanitize_address
from django.core.validators import validate_email

from integrations.connectors.base import Capability, Connector, Created, CreateSafety, Found, MatchKey
from integrations.connectors.objects import Mail, VendorObject
from integrations.connectors.options import Option
from integrations.domains import ascii_address
from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http.mail import RECIPIENT, VendorMail
from integrations.models import Connection

REFERENCE = "X-Firstvalue-Reference"
_BREAKS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that end or spoil a header line: controls, lone surrogates, line and paragraph separators."""


class Smtp(Connector):
    provider = "smtp"
    systems = frozenset({"email"})
    kinds = (
        Capability(
            kind=Mail.KIND,
            safety=CreateSafety.NEITHER,
            reversible=False,
            rollback="a sent mail cannot be unsent",
            updatable=False,
        ),
    )
    options = (
        Option(
            name="from_email",
            label="Sender",
            help="An address, perhaps with a name. Empty: the installation's DEFAULT_FROM_EMAIL.",
        ),
        Option(name="reply_to", label="Reply to", help="Where answers go, if not to the sender."),
    )
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

    def find(self, kind: str, key: MatchKey) -> list[Found]:  # noqa: ARG002
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        """A mail that was sent cannot be looked at: what we recorded stands."""
        return Found(external_id, "Mail, as recorded when it was sent")

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it sends a second mail."""
        if not isinstance(wanted, Mail):
            raise TypeError(f"smtp has no {wanted.kind}")
        sender, recipient = self._sender(), _address(wanted)
        message_id = _message_id(reference, sender)
        message = _message(wanted, recipient)
        message.from_email = self._from_email()
        message.reply_to = [each] if (each := self._header_option("reply_to")) else []
        message.extra_headers = {
            "Message-ID": f"<{message_id}>",
            REFERENCE: _line(reference),
            "Auto-Submitted": "auto-generated",  # RFC 3834: no out-of-office reply to it
        }
        try:
            message.message().as_bytes()
        except ValueError as problem:
            raise ProviderError(Kind.INVALID, f"This cannot be written as a mail: {problem}") from None
        self.mail.send(message, sender=sender, recipient=recipient, request={"reference": reference})
        return Created(message_id)

    def probe(self) -> str:
        self._header_option("reply_to")
        return self.mail.probe(self._sender())

    def _from_email(self) -> str:
        return self._header_option("from_email", settings.DEFAULT_FROM_EMAIL)

    def _sender(self) -> str:
        """The plain address of ``from_email``."""
        return parseaddr(self._from_email())[1]

    def _header_option(self, name: str, default: str = "") -> str:
        """An address, perhaps with a name. Raises ``ProviderError(NOT_CONFIGURED)``."""
        value = self.option(name).strip() or default
        try:
            address = ascii_address(value)
        except ValueError:
            address = ""
        if value and (_spoiled(value) or not _is_address(parseaddr(address)[1])):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{self.connection.slug}: option {name} must be a mail address")
        return address


def _message(wanted: Mail, recipient: str) -> EmailMessage:
    """Raises ``ProviderError(INVALID)`` for what would end its header's line and begin another."""
    texts = {"to_name": wanted.to_name.strip(), "subject": wanted.subject.strip()}
    problems = [
        FieldProblem(name, "holds a line break or a control character", name)
        for name, text in texts.items()
        if _spoiled(text)
    ]
    if problems:
        names = " and ".join(each.name for each in problems)
        raise ProviderError(Kind.INVALID, f"The mail's {names} cannot stand in a header", fields=problems)
    to = formataddr((texts["to_name"], recipient)) if texts["to_name"] else recipient
    message = EmailMessage(subject=texts["subject"], body="\n".join(wanted.text.splitlines()), to=[to])
    message.encoding = _quoted_printable()
    return message


def _address(wanted: Mail) -> str:
    """The one plain address to send to, in ASCII. Raises ``ProviderError(INVALID)``."""
    given = wanted.to.strip()
    try:
        # Django writes a domain by IDNA 2003: it is given none that is not ASCII.
        address = ascii_address(given)
        validate_email(address)
        return sanitize_address(address, "utf-8")
    except (ValidationError, ValueError):
        reason = "is no mail address that a mail can be sent to"
        problem = FieldProblem(RECIPIENT, reason, RECIPIENT)
        raise ProviderError(Kind.INVALID, f"The contact's address {reason}", fields=[problem]) from None


def _message_id(reference: str, sender: str) -> str:
    """The same for the same reference, so that a mail that came twice can be recognised as one."""
    digest = hashlib.sha256(reference.encode()).hexdigest()[:40]
    return f"{digest}@{sender.rpartition('@')[2]}"


def _quoted_printable() -> Charset:
    """UTF-8 in seven bits: no server needs to announce 8BITMIME (RFC 6152)."""
    charset = Charset("utf-8")
    charset.body_encoding = QP
    return charset


def _is_address(address: str) -> bool:
    try:
        validate_email(address)
    except ValidationError:
        return False
    return True


def _spoiled(text: str) -> bool:
    return any(unicodedata.category(each) in _BREAKS for each in text)


def _line(text: str) -> str:
    """Our own reference, as it can stand in a header."""
    if _spoiled(text):
        raise ValueError("a reference is one line")
    return text
