"""How ids that other systems give are compared."""

import unicodedata


def comparable(text: str) -> str:
    """``text`` without regard to case, in Unicode form NFC: unique keys at vendors ignore case, too."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
