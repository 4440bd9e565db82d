"""Domains and addresses in their one ASCII form, by IDNA 2008 (RFC 5891, with the mapping of UTS #46, non-transitional).

Under IDNA 2003, Python's own codec and Django's mail among others, ``straße-x.de`` becomes ``strasse-x.de``, which is
somebody else's. What goes to a vendor or a mail server, and what is compared, passes here first.
"""

from email.utils import formataddr, parseaddr

import idna


def ascii_domain(domain: str) -> str:
    """``domain`` in lower case and ASCII (A-labels). Raises ``ValueError`` for what IDNA 2008 does not allow."""
    if domain.isascii() and "xn--" not in domain.lower():
        return domain.lower()
    return idna.encode(domain, uts46=True, std3_rules=True, transitional=False).decode()


def same_domain(domain: str) -> str:
    """``domain`` for comparison: as ``ascii_domain``, or as it was written where that is no domain."""
    text = domain.strip().rstrip(".")
    try:
        return ascii_domain(text)
    except ValueError:
        return text


def spellings(domain: str) -> list[str]:
    """How an ASCII domain may be written at a vendor: as it is, and in its own script where it has one."""
    try:
        own = idna.decode(domain)
    except ValueError:
        return [domain]
    return list(dict.fromkeys([domain, own]))


def ascii_address(address: str) -> str:
    """A mail address, perhaps with a name before it, with its domain in ASCII. Raises ``ValueError`` as ``ascii_domain`` does."""
    name, plain = parseaddr(address)
    local, at, domain = plain.rpartition("@")
    if not at or domain.isascii():
        return address
    return formataddr((name, f"{local}@{ascii_domain(domain)}"))


def same_address(address: str) -> str:
    """A plain address for comparison and for vendors: in lower case, its domain as ``same_domain`` has it."""
    local, at, domain = address.strip().rpartition("@")
    return f"{local.lower()}@{same_domain(domain)}" if at else domain.lower()
