"""What SCIM servers answer (RFC 7643, 4.1 and 4.2; RFC 7644, 3.4.2 and 3.12).

Names of attributes ignore case (RFC 7643, 2.1), and Microsoft Entra's server does answer ``resources``
(learn.microsoft.com/entra/identity/app-provisioning/entra-id-scim-api-reference): fields here are in lower case, and so is an
answer before it is read. Booleans may come as text (``"False"``), and an error's status as a number
(github.com/okta/okta-developer-docs, reference/scim/scim-20).
"""

from typing import Any, Generic, TypeVar

from pydantic import model_validator

from integrations.connectors.answers import VendorAnswer
from integrations.domains import same_address


class _Scim(VendorAnswer):
    @model_validator(mode="before")
    @classmethod
    def _in_lower_case(cls, given: Any) -> Any:
        return {str(name).lower(): value for name, value in given.items()} if isinstance(given, dict) else given


class Meta(_Scim):
    created: str = ""
    lastmodified: str = ""
    location: str = ""


class Email(_Scim):
    value: str = ""


class Resource(_Scim):
    id: str
    externalid: str = ""
    displayname: str = ""
    meta: Meta = Meta()

    @property
    def label(self) -> str:
        return self.displayname


R = TypeVar("R", bound=Resource)


class User(Resource):
    username: str
    emails: list[Email] = []
    active: bool = True

    @property
    def label(self) -> str:
        return self.displayname or self.username

    def has_address(self, wanted: str) -> bool:
        """Whether nothing speaks against that address: servers need not keep any beside the user name."""
        held = {same_address(each.value) for each in self.emails if each.value}
        return not held or same_address(wanted) in held


class Group(Resource):
    """Its members are not read: there may be thousands, and Entra's server leaves them out."""


class Page(_Scim, Generic[R]):
    """``resources`` may be absent where there are none; a server that pages by cursor need not count, and names the next page."""

    totalresults: int | None = None
    nextcursor: str = ""
    resources: list[R] = []

    @model_validator(mode="before")
    @classmethod
    def _is_a_list(cls, given: Any) -> Any:
        if isinstance(given, dict) and not {"resources", "totalresults"} & {str(name).lower() for name in given}:
            raise ValueError("neither Resources nor totalResults")
        return given


class Supported(_Scim):
    supported: bool = False


class ServiceProviderConfig(_Scim):
    patch: Supported
