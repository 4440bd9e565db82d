"""The pictures of README.md and docs/ are those that ``make screenshots`` takes."""

import re

from tests.support.screenshots import DOCS, PICTURES, ROOT, links_of

PRINTED = """
Firstvalue's console: http://127.0.0.1:8000/admin/exceptions_queue/ticket/    password of every login: x

customer           what was done to it    expected         actual                    at vendors  ticket or run
─────────────────  ─────────────────────  ───────────────  ────────────────────────  ──────────  ─────────────
Acme Logistics     nothing                complete         complete                  A1 C1       http://127.0.0.1:8000/r/1/
Cobalt Freight     two CRM accounts       ambiguous-match  ambiguous-match (sales)   A2          http://127.0.0.1:8000/t/7/

Try it (the login page has a button for each role):
  6. as lead      a run with its picture                                                  http://127.0.0.1:8000/r/1/
Still serving; Ctrl-C stops everything.
"""


def test_every_picture_is_one_that_is_taken_anew() -> None:
    shown = {
        name
        for page in (ROOT / "README.md", *DOCS.glob("*.md"))
        for name in re.findall(r"!\[[^\]]*\]\((?:docs/)?([\w-]+\.png)\)", page.read_text())
    }
    taken = {picture.file for picture in PICTURES}
    assert shown <= taken
    assert {path.name for path in DOCS.glob("*.png")} == taken


def test_pages_are_found_by_what_the_demo_prints() -> None:
    assert links_of(PRINTED) == {
        "": "http://127.0.0.1:8000",
        "Acme Logistics": "http://127.0.0.1:8000/r/1/",
        "Cobalt Freight": "http://127.0.0.1:8000/t/7/",
    }


def test_a_demo_that_did_not_get_to_its_end_has_no_pages() -> None:
    assert links_of(PRINTED.partition("Still")[0]) == {}


def test_a_demo_that_ended_otherwise_has_no_pages() -> None:
    assert links_of(PRINTED.replace("ambiguous-match (sales)", "complete               ")) == {}
