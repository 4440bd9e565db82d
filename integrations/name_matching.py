"""Names of companies and people, compared as people compare them."""

import unicodedata
from itertools import groupby


def company_name(name: str, person: str) -> str:
    """``name``, unless it is the person's own, whatever case, spacing or order of the words: the name on a card is no company's."""
    return "" if name and is_same_name(name, person) else name


def is_same_name(one: str, other: str) -> bool:
    return bool(_words(one)) and _words(one) == _words(other)


def _words(name: str) -> list[str]:
    text = unicodedata.normalize("NFKC", name).casefold()
    return sorted("".join(character if character.isalnum() else " " for character in text).split())


_LEGAL_FORMS = frozenset(
    # As they are written short, then the words of those that are written out, both without accents.
    "ab ad ag aps as asa bv bvba co cv dac doo ead eg ehf ek ent eood gbr gmbh hf inc kda kft kg kgaa ks lda limited llc llp lp "
    "ltd ltda mbh nv nyrt oe og ohg ood ooe oy oyj ou plc pte pty rt sa sarl sas sasu sc sca sci se sia sl slu snc sp spa spol srl "
    "srls sro uab ug vof zoo zrt "
    "aktiebolag aktiengesellschaft akciova anonyme anonima aksjeselskab azioni beschrankter beschraenkter besloten company "
    "corporation gesellschaft haftung kommanditgesellschaft limitada limitata limitee mit naamloze odpowiedzialnoscia "
    "ograniczona osakeyhtio per responsabilidad responsabilita responsabilite sociedad societa societate societe spolecnost spolka "
    "vennootschap "
    "a and e et i og och u und y z".split()
)
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_STROKES = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe"})
"""Letters that Unicode does not take apart."""


def is_same_company(one: str, other: str) -> bool:
    """Whether two spellings may be one company's: without regard to case, accents, separators, order and legal form."""
    return not _spellings(one).isdisjoint(_spellings(other))


def _spellings(name: str) -> set[str]:
    """The name's words in their order and in any, its umlauts either way: registers write some without them."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    found = [_telling_words(text) for text in (folded, folded.translate(_GERMAN))]
    return {"".join(words) for each in found for words in (each, sorted(each)) if words}


def _telling_words(text: str) -> list[str]:
    apart = unicodedata.normalize("NFKD", text.translate(_STROKES))
    plain = "".join(each for each in apart if not unicodedata.combining(each))
    words = "".join(each if each.isalnum() else " " for each in plain).split()
    joined: list[str] = []
    for is_letter, grouped in groupby(words, key=lambda word: len(word) == 1 and word.isalpha()):
        some = list(grouped)
        joined += ["".join(some)] if is_letter else some  # S. A. and S.A. are SA
    return [each for each in joined if each not in _LEGAL_FORMS] or joined
