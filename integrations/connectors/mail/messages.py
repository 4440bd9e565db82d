"""One mail to a customer's contact, composed the same for every vendor of mail."""

import hashlib
import unicodedata
from dataclasses import dataclass
from email.charset import QP, Charset
from email.utils import formataddr, parseaddr
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.message import sanitize_address
from django.core.validators import validate_email

from integrations.connectors.base import Capability, Connector, CreateSafety, Found, MatchKey
from integrations.connectors.objects import Mail, VendorObject
from integrations.connectors.options import Option
from integrations.domains import ascii_address
from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http.mail import RECIPIENT

REFERENCE = "X-Firstvalue-Reference"
_BREAKS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that end or spoil a header line: controls, lone surrogates, line and paragraph separators."""
MAIL = Capability(
    kind=Mail.KIND,
    safety=CreateSafety.NEITHER,
    reversible=False,
    rollback="a sent mail cannot be unsent",
    updatable=False,
)
SENDER_OPTIONS = (
    Option(
        name="from_email",
        label="Sender",
        help="An address, perhaps with a name. Empty: the installation's DEFAULT_FROM_EMAIL.",
    ),
    Option(name="reply_to", label="Reply to", help="Where answers go, if not to the sender."),
)


@dataclass(frozen=True)
class Composed:
    """``sender`` and ``recipient`` are plain ASCII addresses; ``message_id`` is without its brackets."""

    message: EmailMessage
    sender: str
    recipient: str
    message_id: str


class MailConnector(Connector):
    """A mail that was sent is neither looked up, nor changed, nor unsent: one whose outcome is indeterminate is a person's."""

    systems = frozenset({"email"})
    kinds = (MAIL,)
    options: ClassVar[tuple[Option, ...]] = SENDER_OPTIONS

    def find(self, kind: str, key: MatchKey) -> list[Found]:  # noqa: ARG002
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        """A mail that was sent cannot be looked at: what we recorded stands."""
        return Found(external_id, "Mail, as recorded when it was sent")

    def composed(self, wanted: VendorObject, reference: str) -> Composed:
        """Raises ``ProviderError(INVALID)`` for what cannot be written as a mail; ``TypeError`` for another kind."""
        if not isinstance(wanted, Mail):
            raise TypeError(f"{self.provider} has no {wanted.kind}")
        sender, recipient = self.sender(), _address(wanted)
        message_id = _message_id(reference, sender)
        message = _message(wanted, recipient)
        message.from_email = self.from_email()
        message.reply_to = [each] if (each := self.header_option("reply_to")) else []
        message.extra_headers = {
            "Message-ID": f"<{message_id}>",
            REFERENCE: _line(reference),
            "Auto-Submitted": "auto-generated",  # RFC 3834: no out-of-office reply to it
        }
        try:
            message.message().as_bytes()
        except ValueError as problem:
            raise ProviderError(Kind.INVALID, f"This cannot be written as a mail: {problem}") from None
        return Composed(message, sender, recipient, message_id)

    def from_email(self) -> str:
        return self.header_option("from_email", settings.DEFAULT_FROM_EMAIL)

    def sender(self) -> str:
        """The plain address of ``from_email``."""
        return parseaddr(self.from_email())[1]

    def header_option(self, name: str, default: str = "") -> str:
        """An address, perhaps with a name. Raises ``ProviderError(NOT_CONFIGURED)``."""
        value = self.option(name).strip() or default
        try:
            address = ascii_address(value)
        except ValueError:
            address = ""
        if value and (_spoiled(value) or not _is_address(parseaddr(address)[1])):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{self.connection.slug}: option {name} must be a mail address")
        return address


def refused_recipient(reason: str) -> list[FieldProblem]:
    """That a person corrects the recipient's address."""
    return [FieldProblem(RECIPIENT, reason, RECIPIENT)]


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
    message = EmailMultiAlternatives(subject=texts["subject"], body="\n".join(wanted.text.splitlines()), to=[to])
    message.encoding = _quoted_printable()
    if wanted.html:
        message.attach_alternative("\n".join(wanted.html.splitlines()), "text/html")
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
        fields = refused_recipient(reason)
        raise ProviderError(Kind.INVALID, f"The contact's address {reason}", fields=fields) from None


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
