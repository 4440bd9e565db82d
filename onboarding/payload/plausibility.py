"""Values that are there and say nothing: placeholders, mistyped addresses, domains that are not the customer's."""

import re
import unicodedata
from functools import cache
from typing import Any

from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from publicsuffixlist import PublicSuffixList

from integrations.domains import ascii_domain, same_domain
from onboarding.payload.catalogue import Type
from onboarding.payload.schema import get, is_date

_SAY_NOTHING = frozenset(
    "tbd tba tbc todo tbn na nan none null nil undefined unknown unspecified missing empty placeholder dummy "
    "test testing tester asdf asdfgh qwerty qwertz foo foobar lorem ipsum xx xxx xxxx".split()
)
"""Words that stand for a value that nobody knows, or that somebody typed to try something."""
_WITH_TEST = frozenset(
    "account bar company contact customer demo email example firstname inc lastname ltd gmbh name org organization person "
    "user value 1 2 3 12 123 1234".split()
)
"""Beside a word that says nothing they say nothing either: Test Company, Test User, test 123."""
_WHOLE = frozenset({
    "n a", "n k", "object object", "not available", "not applicable", "not known", "not provided", "not set",
    "to be announced", "to be confirmed",
    "to be decided", "to be defined", "to be determined", "no name", "no company", "no email", "your company", "company name",
    "your name", "first name", "last name", "full name", "legal name", "john doe", "jane doe", "abc xyz", "test1", "test123", "0",
})  # fmt: skip
_UNKNOWN_PERSON = frozenset("a abc xyz x y z sample example temp bar me".split())
"""For a person's name only: companies are called ABC, X and Temp."""
_NO_MAILBOX = frozenset(
    "tbd tba tbc todo none null undefined unknown placeholder dummy test testing test1 test123 asdf qwerty noemail nomail "
    "no-email no-mail example".split()
)
"""Before the @. Short ones such as na@ and x@ are initials."""
_ANYBODY = frozenset(
    "you your yourname your.name name email user username firstname firstname.lastname john.doe jane.doe".split()
)
_TEMPLATE = re.compile(
    r"\{\{.*\}\}|\$\{.*\}|\{%.*%\}|<[^<>@]*>|%\w+%|#(?:N/A|REF!|VALUE!|NAME\?|NULL!|DIV/0!)", re.IGNORECASE
)
"""What a template or a spreadsheet leaves behind."""
RESERVED = frozenset("example.com example.org example.net".split())
"""RFC 2606, section 3."""
PLACEHOLDER_DOMAINS = RESERVED | frozenset("test.com yourdomain.com yourcompany.com acme.test".split())
FORM_DOMAINS = frozenset("company.com domain.com".split())
"""Real companies, whose domains stand as examples in forms: a placeholder as a domain, and behind anybody's mailbox."""
FREE_MAIL = frozenset(
    "gmail.com googlemail.com outlook.com hotmail.com hotmail.co.uk hotmail.fr hotmail.de live.com msn.com yahoo.com "
    "yahoo.co.uk yahoo.fr yahoo.de ymail.com icloud.com me.com mac.com aol.com gmx.com gmx.de gmx.net gmx.at web.de "
    "t-online.de mail.com mail.ru yandex.ru yandex.com proton.me protonmail.com pm.me zoho.com fastmail.com hey.com "
    "tutanota.com tuta.io orange.fr wanadoo.fr free.fr laposte.net libero.it qq.com 163.com 126.com sina.com "
    "naver.com rediffmail.com comcast.net verizon.net att.net mailinator.com guerrillamail.com 10minutemail.com "
    "yopmail.com".split()
)
MISTYPED = {
    "gmial.com": "gmail.com", "gmai.com": "gmail.com", "gmal.com": "gmail.com", "gnail.com": "gmail.com", "gmail.co": "gmail.com",
    "hotmial.com": "hotmail.com", "hotmai.com": "hotmail.com", "outlok.com": "outlook.com", "outloo.com": "outlook.com",
    "yaho.com": "yahoo.com", "yahooo.com": "yahoo.com",
}  # fmt: skip


def implausible(value: str, type_: Type) -> str:
    """Why ``value`` counts as missing, in plain words; an empty string where it is plausible."""
    return unusable(value, type_) or _suspicious(value.strip(), type_)


def unusable(value: str, type_: Type) -> str:
    """Why nothing can be done with ``value``, whoever stands by it; an empty string where something can.

    A mail provider's domain is nobody's own: all its users would be taken for one customer.
    """
    text = value.strip()
    if not any(character.isalnum() for character in text):
        return f"“{text}” is a placeholder"
    match type_:
        case Type.NAME:
            return f"“{text}” is an address, not a name" if "@" in text else ""
        case Type.EMAIL:
            return "" if _parsed(text) else f"“{text}” is not an email address"
        case Type.DOMAIN:
            return _unusable_domain(text)
        case Type.DATE:
            return "" if is_date(text) else f"“{text}” is not a date (YYYY-MM-DD)"
        case _:
            return ""


def _suspicious(text: str, type_: Type) -> str:
    """Why a usable value is probably not meant: a person may say that it is."""
    match type_:
        case Type.EMAIL:
            return _suspicious_email(text)
        case Type.DOMAIN:
            return f"“{text}” is a placeholder" if normal_domain(text) in PLACEHOLDER_DOMAINS | FORM_DOMAINS else ""
    return f"“{text}” is a placeholder" if _is_placeholder(text, type_) else ""


def _is_placeholder(text: str, type_: Type) -> bool:
    """By its words and what they mean together: “null null” and “Test” say nothing, “Test Rite International” does."""
    if _TEMPLATE.fullmatch(text):
        return True
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    nothing = [word for word in words if word in _SAY_NOTHING]
    if nothing and all(word in _SAY_NOTHING or word in _WITH_TEST for word in words):
        return True
    return " ".join(words) in _WHOLE or (type_ is Type.NAME and all(word in _UNKNOWN_PERSON for word in words))


def normal_domain(value: str) -> str:
    """``value`` as a bare host: lower case, in ASCII (IDNA 2008), without scheme, path, port, trailing dot or ``www.``.

    What is no domain stays as it was written.
    """
    # Not put into lower case before the mapping: Python's rule for a final sigma is not IDNA's.
    host = re.sub(r"^[a-z][a-z0-9+.-]*://", "", value.strip(), flags=re.IGNORECASE)
    return same_domain(re.split(r"[/?#:]", host, maxsplit=1)[0]).removeprefix("www.")


def customer_domain(content: dict[str, Any]) -> str:
    """The customer's normalised domain; an empty string where a person said that there is none, whatever was sent before."""
    if get(content, "customer.no_domain", default=False) is True:
        return ""
    return normal_domain(get(content, "customer.domain"))


def normal_name(value: str) -> str:
    return " ".join(value.split()).casefold()


def domain_of(email: str) -> str:
    """The registrable domain behind an address, or an empty string where that tells nothing of the customer."""
    host = normal_domain(email.rpartition("@")[2])
    if not host or implausible(host, Type.DOMAIN):
        return ""
    return str(_suffixes().privatesuffix(host) or "")


def _parsed(text: str) -> ValidatedEmail | None:
    try:
        return validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return None


def _suspicious_email(text: str) -> str:
    address = _parsed(text)
    assert address  # noqa: S101  (what is no address is unusable)
    host = address.ascii_domain.lower() if address.ascii_domain else address.domain.lower()
    local = address.local_part.lower()
    if host in MISTYPED:
        return f"“{text}” looks mistyped (did they mean {MISTYPED[host]}?)"
    is_nobody = local in _NO_MAILBOX or (len(set(local)) == 1 and local == host.partition(".")[0])
    if host in PLACEHOLDER_DOMAINS or is_nobody or (host in FORM_DOMAINS and local in _ANYBODY):
        return f"“{text}” is a placeholder"
    if not _known_suffix(host):
        return f"“{text}” ends in no known top-level domain"
    return ""


def _unusable_domain(text: str) -> str:
    host = normal_domain(text)
    if not host.isascii() or not _is_decodable(host):
        return f"“{text}” is not a domain that may be registered (IDNA 2008)"
    if not re.fullmatch(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", host):
        return f"“{text}” is not a domain"
    if host in RESERVED:
        return f"“{text}” is a placeholder"
    if host in FREE_MAIL or str(_suffixes().privatesuffix(host) or "") in FREE_MAIL:
        return f"“{text}” is a mail provider, not the customer's own domain"
    if not _known_suffix(host) or not _suffixes().privatesuffix(host):
        return f"“{text}” ends in no known top-level domain"
    return ""


def _is_decodable(host: str) -> bool:
    try:
        ascii_domain(host)
    except ValueError:
        return False
    return True


def _known_suffix(host: str) -> bool:
    return _suffixes().publicsuffix(host, accept_unknown=False) is not None


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)  # the list that ships inside the package
