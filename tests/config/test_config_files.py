"""What is wrong with a file is said in its author's words: file, key, what was expected, the nearest right name."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exceptions_queue.sla import business_calendar
from integrations.declarative import mapping
from onboarding import checks
from onboarding.intake import prices
from onboarding.playbooks.playbook import PlaybookError, load, playbooks

STEP = '[[steps]]\nkey = "{key}"\nuses = "{uses}"\n'
PLAYBOOK = 'name = "mine"\nversion = "1"\nowner = "revenue-operations"\n'
PYDANTIC = re.compile(
    r"Input should|Extra inputs|Field required|Value error|validation error|String should|pydantic", re.IGNORECASE
)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    for cached in (playbooks, mapping.mappings):
        cached.cache_clear()
    yield
    for cached in (playbooks, mapping.mappings):
        cached.cache_clear()


def said(folder: Path, text: str, reader: Callable[[Path], object]) -> list[str]:
    path = folder / "mine.toml"
    path.write_text(text)
    with pytest.raises(Exception, match=r"mine\.toml") as refused:
        reader(path)
    lines: list[str] = getattr(refused.value, "each", None) or [str(refused.value)]
    assert not any(PYDANTIC.search(line) for line in lines), lines
    return lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PLAYBOOK + 'plan = []\n' + STEP.format(key="a", uses="crm.account"), "plan: is not known here; did you mean “plans”?"),
        (PLAYBOOK + STEP.format(key="a", uses="crm.acount"), "did you mean “crm.account”?"),
        (PLAYBOOK + STEP.format(key="a", uses="crm.account") + 'queue = "sale-ops"\n', "did you mean “sales-ops”?"),
        (PLAYBOOK + STEP.format(key="a", uses="crm.account") + 'after = "b"\n', "steps #1 (a).after: must be a list"),
        (PLAYBOOK + "steps = 3\n", "steps: must be a list"),
        (PLAYBOOK.replace('"1"', "1") + STEP.format(key="a", uses="crm.account"), "version: must be a text"),
        (PLAYBOOK.replace('owner = "revenue-operations"\n', "") + STEP.format(key="a", uses="crm.account"), "owner: is missing"),
        (PLAYBOOK + STEP.format(key="A b", uses="crm.account"), "“A b” must be 1 to 64 lower-case letters"),
        (PLAYBOOK + "steps = = 3\n", "line 4, column 9: "),
    ],
)  # fmt: skip
def test_one_mistake_in_a_playbook_is_reported_once(tmp_path: Path, text: str, expected: str) -> None:
    lines = said(tmp_path, text, load)
    assert len(lines) == 1
    assert expected in lines[0]


def test_a_playbook_is_not_blamed_for_the_mapping_that_it_uses(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    for folder in ("playbooks", "providers"):
        (tmp_path / folder).mkdir()
    (tmp_path / "providers" / "ours.toml").write_text('name = "ours"\nsistem = "product"\n')
    uses = STEP.format(key="workspace", uses="http:workspace")
    (tmp_path / "playbooks" / "mine.toml").write_text(PLAYBOOK + 'plans = ["x"]\n' + uses)
    assert checks.playbooks_are_sound() == []
    with pytest.raises(mapping.MappingError, match="did you mean “system”"):
        mapping.mappings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[price]\np1 = { plan_sku = "pro" }\n', "price: is not known here; did you mean “prices”?"),
        ('[prices]\np1 = { plan_sku = "pro", terms = "annual" }\n', "prices.p1.terms: is not known here; did you mean “term”?"),
    ],
)  # fmt: skip
def test_a_price_table_that_would_not_count_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    lines = said(tmp_path, text, lambda path: prices._read(path, 0))
    assert expected in lines[0]


def test_a_calendar_names_the_nearest_weekday(tmp_path: Path) -> None:
    text = 'zone = "UTC"\n[hours]\nmondy = ["09:00-17:00"]\n'
    assert "hours.mondy is not a weekday; did you mean “monday”?" in said(tmp_path, text, business_calendar.load)[0]


@pytest.mark.parametrize(
    ("scopes", "refused"),
    [
        (['plans = ["Pro"]', 'plans = ["pro "]'], "serves the plan “pro” and every segment"),
        (['plans = ["pro"]', 'segments = ["enterprise"]'], "serves the plan “pro” and the segment “enterprise”"),
        (["", 'plans = ["pro"]'], "serves every plan and every segment, and so does standard.toml (built in)"),
        (['plans = ["pro"]', 'segments = ["enterprise"]', 'plans = ["pro"]\nsegments = ["enterprise"]'], ""),
        (['plans = ["pro"]', 'plans = ["basic"]'], ""),
    ],
)
def test_two_playbooks_that_tie_are_an_error_at_start_up(
    tmp_path: Path, settings: Any, scopes: list[str], refused: str
) -> None:
    settings.CONFIG_DIR = tmp_path
    (tmp_path / "playbooks").mkdir()
    for number, scope in enumerate(scopes):
        head = PLAYBOOK.replace("mine", f"mine-{number}")
        text = f"{head}{scope}\n{STEP.format(key='a', uses='crm.account')}"
        (tmp_path / "playbooks" / f"mine-{number}.toml").write_text(text)
    found = checks.playbooks_are_sound()
    assert [message.id for message in found] == (["onboarding.E001"] if refused else [])
    assert all(refused in str(message.msg) for message in found)


def test_all_mistakes_in_all_files_are_reported_at_once(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    (tmp_path / "playbooks").mkdir()
    for name in ("one", "two"):
        text = PLAYBOOK.replace("mine", name) + STEP.format(key="a", uses="crm.acount")
        (tmp_path / "playbooks" / f"{name}.toml").write_text(text)
    with pytest.raises(PlaybookError) as refused:
        playbooks()
    assert [line.split(":")[0] for line in refused.value.each] == ["one.toml", "two.toml"]
