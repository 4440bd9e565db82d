"""What Odoo knows by an id of its own, and we by a code or a name.

Sources: Odoo's own source (github.com/odoo/odoo): ``addons/product/models/product_pricelist.py`` (its currency; the first by
``sequence`` is the one that Odoo takes), ``addons/account/models/account_payment_term.py``,
``addons/analytic/models/analytic_account.py`` (``code``), ``odoo/addons/base/models/res_company.py``. A record without a company
serves all of them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import pydantic

from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.vendors.odoo.schemas import Coded, CodedList

L = TypeVar("L", bound=pydantic.RootModel[list[Any]])
_MOST = 500


class Search(Protocol):
    def __call__(
        self,
        model: str,
        domain: list[Any],
        fields: list[str],
        expect: type[L],
        *,
        most: int,
        archived: bool = False,
        order: str = "id",
    ) -> L: ...


class Lookups:
    """Each method raises ``ProviderError``: ``INVALID`` with our field for what an order or a customer says, else
    ``NOT_CONFIGURED``.
    """

    def __init__(self, search: Search, user: Callable[[], int]) -> None:
        self._search, self._user = search, user
        self._companies: dict[str, Coded] = {}

    def _rows(
        self, model: str, domain: list[Any], *fields: str, archived: bool = False, order: str = "id"
    ) -> list[Coded]:
        return self._search(model, domain, list(fields), CodedList, most=_MOST, archived=archived, order=order).root

    def country(self, code: str) -> int:
        found = self._rows("res.country", [["code", "=", code.strip().upper()]], "code")
        if not found:
            raise _unknown("country", code, "country")
        return found[0].id

    def company(self, name: str) -> Coded:
        """A subsidiary of ours; with an empty name the one that our user works for."""
        if name not in self._companies:
            found = self._rows("res.company", [["name", "=", name] if name else self._own()], "name", "currency_id")
            if len(found) != 1:
                what = "several companies" if found else "no company"
                which = f"“{name}” that our user may work for" if name else "that our user works for"
                raise ProviderError(Kind.NOT_CONFIGURED, f"Odoo has {what} {which}")
            self._companies[name] = found[0]
        return self._companies[name]

    def _own(self) -> list[Any]:
        """The company that our user works for, as a condition."""
        user = next(iter(self._rows("res.users", [["id", "=", self._user()]], "company_id")), None)
        return ["id", "=", int(user.company_id[0]) if user and user.company_id else 0]

    def payment_terms(self, name: str, company: Coded | None) -> int:
        found = self._rows("account.payment.term", [["name", "=", name], *_of(company)], "name")
        if not found:
            raise _unknown("payment terms", name, "payment_terms")
        return found[0].id

    def pricelist(self, currency: str, company: Coded | None) -> int:
        """False, which is Odoo's word for none, where the currency is the company's own: that is what Odoo takes then."""
        code = currency.strip().upper()
        domain = [["currency_id.name", "=", code], *_of(company)]
        if found := self._rows("product.pricelist", domain, "name", order="sequence, id"):
            return found[0].id
        own = (company or self.company("")).currency_id
        if own and own[1] == code:
            return False
        raise _unknown("price list in", currency, "currency")

    def products(self, codes: Iterable[str]) -> dict[str, int]:
        """By internal reference."""
        return self._by_code("product.product", "default_code", codes, "product with the internal reference", "lines")

    def known_products(self, codes: Iterable[str]) -> dict[str, int]:
        """Those that there are, archived ones too."""
        wanted = sorted(set(codes))
        rows = (
            self._rows("product.product", [["default_code", "in", wanted]], "default_code", archived=True)
            if wanted
            else []
        )
        return {row.default_code: row.id for row in rows}

    def analytic_accounts(self, codes: Iterable[str]) -> dict[str, int]:
        return self._by_code(
            "account.analytic.account", "code", codes, "analytic account with the reference", "cost_centre"
        )

    def _by_code(self, model: str, field: str, codes: Iterable[str], what: str, ours: str) -> dict[str, int]:
        wanted = sorted(set(codes) - {""})
        found: dict[str, list[int]] = {code: [] for code in wanted}
        for row in self._rows(model, [[field, "in", wanted]], field) if wanted else []:
            found.setdefault(str(getattr(row, field)), []).append(row.id)
        for code, ids in found.items():
            if not ids:
                raise _unknown(what, code, ours)
            if len(ids) > 1:
                raise ProviderError(Kind.NOT_CONFIGURED, f"Odoo has {len(ids)} times a {what} “{code}”: it must be one")
        return {code: ids[0] for code, ids in found.items()}


def _of(company: Coded | None) -> list[Any]:
    return [["company_id", "in", [False, company.id]]] if company else []


def _unknown(what: str, value: str, field: str) -> ProviderError:
    message = f"Odoo has no {what} “{value}”: create it there, or correct it here"
    return ProviderError(Kind.INVALID, message, fields=[FieldProblem(field, "does not exist at Odoo", field)])
