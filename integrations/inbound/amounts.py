"""Amounts between minor and major units, by ISO 4217 (https://www.iso.org/iso-4217-currency-codes.html).

For vendors that follow it; one that deviates, as Stripe does, has a table of its own.
"""

from decimal import Decimal

_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_BY_CURRENCY = {code: digits for digits, codes in _DIGITS.items() for code in codes.split()}


def major_units(minor: int, currency: str) -> Decimal:
    """``currency``: its code, in any case."""
    return Decimal(minor).scaleb(-_digits(currency))


def minor_units(major: Decimal, currency: str) -> int:
    """Rounded down to whole minor units."""
    return int(major.scaleb(_digits(currency)))


def _digits(currency: str) -> int:
    return _BY_CURRENCY.get(currency.upper(), 2)
