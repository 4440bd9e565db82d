"""Which spellings of a company's name are one company's, as far as names tell."""

import pytest

from integrations.name_matching import is_same_company


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme Logistics", "ACME LOGISTICS GMBH"),
        ("Sodimas S.A.", "SA SODIMAS"),
        ("Müller & Söhne KG", "MUELLER UND SOEHNE KG"),
        ("Société Générale", "SOCIETE GENERALE SA"),
        ("ČEZ, a. s.", "CEZ"),
        ("Łódź Sp. z o.o.", "ŁÓDŹ SPÓŁKA Z OGRANICZONĄ ODPOWIEDZIALNOŚCIĄ"),
        ("DaimlerTruck", "Daimler Truck AG"),
        ("株式会社", "株式会社"),
    ],
)
def test_one_company(one: str, other: str) -> None:
    assert is_same_company(one, other)
    assert is_same_company(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme Logistics", "Acme Holding GmbH"),
        ("Acme", ""),
        ("", ""),
        ("Acme", "GmbH"),
        ("Acme 1", "Acme 2"),
    ],
)
def test_another_company(one: str, other: str) -> None:
    assert not is_same_company(one, other)
