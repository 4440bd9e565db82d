"""Paddle's API, of which we only read: its events name customers by their ids alone.

Sources: https://developer.paddle.com/api-reference/overview (customers, businesses, addresses, transactions) and, for what a
refusal means, https://developer.paddle.com/api-reference/about/errors: a wrong API key is a 403 ``invalid_token``.
"""

from collections.abc import Mapping
from typing import Any

from integrations.connectors.base import Created, Found, HttpConnector, JobAccepted, MatchKey
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import SIGNING_SECRET, TOKEN, Secret
from integrations.errors import Kind, ProviderError
from integrations.http.client import segment
from integrations.vendors.paddle import schemas

CREDENTIALS = frozenset(
    {
        "authentication_missing",
        "authentication_malformed",
        "invalid_token",
        "invalid_access_token",
        "invalid_client_token",
    }
)


class Paddle(HttpConnector):
    provider = "paddle"
    systems = frozenset({"billing"})
    hosts = ("api.paddle.com", "sandbox-api.paddle.com")
    default_base_url = "https://api.paddle.com"
    secrets = (
        SIGNING_SECRET,
        Secret(name=TOKEN, label="API key", help="Paddle > Developer tools > Authentication, with read permissions."),
    )
    probes = "the API key, and that it may read customers"

    def customer(self, customer_id: str) -> schemas.Customer | None:
        found = self.read(f"/customers/{segment(customer_id)}", schemas.OneCustomer)
        return found.data if found else None

    def business(self, customer_id: str, business_id: str) -> schemas.Business | None:
        path = f"/customers/{segment(customer_id)}/businesses/{segment(business_id)}"
        found = self.read(path, schemas.OneBusiness)
        return found.data if found else None

    def address(self, customer_id: str, address_id: str) -> schemas.Address | None:
        path = f"/customers/{segment(customer_id)}/addresses/{segment(address_id)}"
        found = self.read(path, schemas.OneAddress)
        return found.data if found else None

    def transaction(self, transaction_id: str) -> schemas.Transaction | None:
        found = self.read(f"/transactions/{segment(transaction_id)}", schemas.OneTransaction)
        return found.data if found else None

    def find(self, kind: str, key: MatchKey) -> list[Found]:  # noqa: ARG002
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        return None

    def create(self, wanted: VendorObject, reference: str) -> Created | JobAccepted:  # noqa: ARG002
        raise TypeError(f"paddle has no {wanted.kind}")

    def probe(self) -> str:
        self.http.request("GET", "/customers", params={"per_page": "1"}, expect=schemas.Customers)
        return "Paddle takes the API key, and lets it read customers"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict) or error.get("code") not in CREDENTIALS:
            return None
        return ProviderError(Kind.AUTH, f"Paddle refuses the API key: {error.get('detail', '')}", status)
