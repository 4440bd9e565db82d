"""Values that are there and say nothing: placeholders, mistyped addresses, domains that are not the customer's."""

import re
from functools import cache
from typing import Any

from email_validator import EmailNotValidError, validate_email
from publicsuffixlist import PublicSuffixList

from onboarding.payload.catalogue import Type
from onboarding.payload.schema import get, is_date

PLACEHOLDERS = frozenset(
    "tbd tba tbc todo test testing test1 test123 n/a na none null nil unknown undefined placeholder dummy temp example sample "
    "xxx xx x xyz abc asdf qwerty foo bar foobar - -- ? ?? . .. 0".split()
)
PLACEHOLDER_DOMAINS = frozenset(
    "example.com example.org example.net test.com domain.com yourdomain.com company.com acme.test".split()
)
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
    text = value.strip()
    if text.casefold() in PLACEHOLDERS or not any(character.isalnum() for character in text):
        return f"“{text}” is a placeholder"
    match type_:
        case Type.NAME:
            return f"“{text}” is an address, not a name" if "@" in text else ""
        case Type.EMAIL:
            return _implausible_email(text)
        case Type.DOMAIN:
            return _implausible_domain(text)
        case Type.DATE:
            return "" if is_date(text) else f"“{text}” is not a date (YYYY-MM-DD)"
        case _:
            return ""


def normal_domain(value: str) -> str:
    """``value`` as a bare host: lower case, in ASCII, without scheme, path, port, trailing dot or ``www.``."""
    host = re.sub(r"^[a-z][a-z0-9+.-]*://", "", value.strip().lower())
    host = re.split(r"[/?#:]", host, maxsplit=1)[0].rstrip(".").removeprefix("www.")
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return host


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
    if not host or _implausible_domain(host):
        return ""
    return str(_suffixes().privatesuffix(host) or "")


def _implausible_email(text: str) -> str:
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return f"“{text}” is not an email address"
    host = address.ascii_domain.lower() if address.ascii_domain else address.domain.lower()
    local = address.local_part.lower()
    if host in MISTYPED:
        return f"“{text}” looks mistyped (did they mean {MISTYPED[host]}?)"
    first = host.partition(".")[0]
    if host in PLACEHOLDER_DOMAINS or local in PLACEHOLDERS or (len(set(local)) == 1 and local == first):
        return f"“{text}” is a placeholder"
    if not _known_suffix(host):
        return f"“{text}” ends in no known top-level domain"
    return ""


def _implausible_domain(text: str) -> str:
    host = normal_domain(text)
    if not re.fullmatch(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", host):
        return f"“{text}” is not a domain"
    if host in PLACEHOLDER_DOMAINS:
        return f"“{text}” is a placeholder"
    if host in FREE_MAIL or str(_suffixes().privatesuffix(host) or "") in FREE_MAIL:
        return f"“{text}” is a mail provider, not the customer's own domain"
    if not _known_suffix(host) or not _suffixes().privatesuffix(host):
        return f"“{text}” ends in no known top-level domain"
    return ""


def _known_suffix(host: str) -> bool:
    return _suffixes().publicsuffix(host, accept_unknown=False) is not None


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)  # the list that ships inside the package
