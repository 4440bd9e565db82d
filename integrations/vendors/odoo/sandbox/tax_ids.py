"""How Odoo checks and stores a tax id (``addons/base_vat/models/res_partner.py``): by the rules of python-stdnum, as here."""

from __future__ import annotations

from stdnum.ch import vat as swiss
from stdnum.eu.vat import MEMBER_STATES
from stdnum.util import get_cc_module

from integrations.vendors.odoo.sandbox.errors import invalid

_EXTRA = {"EL": "GR"}
_VOID = ("/", "na", "NA")


def stored(vat: str, country: str, partner: str) -> str:
    """What is kept of ``vat``: its prefix where one was sent, and the number as its country writes it. Raises ``Refused``."""
    if not country or not vat:
        return vat
    if len(vat) <= 2:  # noqa: PLR2004
        if vat in _VOID:
            return vat
        raise invalid("To explicitly indicate no (valid) VAT, use '/', 'na' or 'NA' instead. ")
    prefix, number = (vat[:2].upper(), vat[2:].replace(" ", "")) if vat[:2].isalpha() else ("", vat)
    code = _EXTRA.get(prefix, prefix)
    european = code.lower() in MEMBER_STATES and country.lower() in MEMBER_STATES
    to_check, rest = (code, number) if european else (country, vat)
    rules = get_cc_module(to_check.lower(), "vat")
    if rules is not None and not rules.is_valid(rest):
        raise invalid(f"\nThe VAT number [{rest}] for partner [{partner}] does not seem to be valid. ")
    if rules is not None:
        rest = swiss.format(rest) if to_check == "CH" else rules.compact(rest)
    return f"{prefix if european else ''}{rest}"
