"""What the tables that a playbook gives its steps (``with``) have in common."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

Words = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
"""One text, or a list of them."""


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Raises ``ValueError``, in words for whoever wrote the playbook."""
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{where or 'with'}: {first['msg'].removeprefix('Value error, ')}") from None
