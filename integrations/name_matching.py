"""Names of companies and people, compared as people compare them."""

import unicodedata


def company_name(name: str, person: str) -> str:
    """``name``, unless it is the person's own, whatever case, spacing or order of the words: the name on a card is no company's."""
    return "" if name and is_same_name(name, person) else name


def is_same_name(one: str, other: str) -> bool:
    return bool(_words(one)) and _words(one) == _words(other)


def _words(name: str) -> list[str]:
    text = unicodedata.normalize("NFKC", name).casefold()
    return sorted("".join(character if character.isalnum() else " " for character in text).split())
