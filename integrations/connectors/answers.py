"""The base of every model of a vendor's answer: strict about what we use, indifferent to what vendors differ in by themselves."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class VendorAnswer(BaseModel):
    """An answer, or a part of one.

    A field that has a default may be absent or null; either is the default. Fields that we do not know are left out. An id that
    we keep as text may come as a number: vendors change that between versions of an API, and JSON's two kinds say the same.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            name: value
            for name, value in given.items()
            if value is not None or not (name in cls.model_fields and not cls.model_fields[name].is_required())
        }
