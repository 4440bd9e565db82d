"""The layout of a run's picture: every step placed, nothing upon anything else, arrows forward only."""

import re
from itertools import combinations, pairwise

import pytest

from exceptions_queue.admin.runs.graph_layout import Drawing, Node, Size, draw, layers, wrap

STEPS: list[tuple[str, list[str]]] = [
    ("crm.account", []),
    ("crm.contact", ["crm.account"]),
    ("crm.deal", ["crm.account"]),
    ("crm.deal-status", ["crm.deal"]),
    ("crm.note", ["crm.deal"]),
    ("delivery.project", ["crm.account"]),
    ("delivery.tasks", ["delivery.project"]),
    ("delivery.handover", ["crm.note", "delivery.project"]),
    ("support.organization", ["crm.account"]),
    ("support.users", ["support.organization"]),
    ("kickoff.task", ["crm.contact", "crm.deal-status", "delivery.tasks", "delivery.handover", "support.users"]),
    ("welcome.mail", ["crm.contact", "crm.deal-status", "delivery.tasks", "delivery.handover", "support.users"]),
]
ONE_AFTER_ANOTHER = [(f"s{number}", [f"s{number - 1}"] if number else []) for number in range(15)]
SIDE_BY_SIDE: list[tuple[str, list[str]]] = [(f"s{number}", []) for number in range(15)]
SHAPES = pytest.mark.parametrize(
    "steps", [STEPS, STEPS[::-1], ONE_AFTER_ANOTHER, SIDE_BY_SIDE], ids=["real", "backwards", "chain", "flat"]
)


def points(path: str) -> list[tuple[int, int]]:
    """Where a path's curves begin and end."""
    found, y = [], 0
    for letter, numbers in re.findall(r"([MCH])([\d ]+)", path):
        values = [int(number) for number in numbers.split()]
        x, y = (values[0], y) if letter == "H" else (values[-2], values[-1])
        found.append((x, y))
    return found


def covers(node: Node, x: int, y: int, size: Size) -> bool:
    return node.x < x < node.x + size.width and node.y < y < node.y + size.height


@SHAPES
def test_every_step_is_placed_inside_the_drawing(steps: list[tuple[str, list[str]]]) -> None:
    drawing = draw(steps)
    assert [node.key for node in drawing.nodes] == [key for key, _ in steps]
    for node in drawing.nodes:
        assert 0 <= node.x <= drawing.width - drawing.size.width
        assert 0 <= node.y <= drawing.height - drawing.size.height


@SHAPES
def test_steps_do_not_overlap(steps: list[tuple[str, list[str]]]) -> None:
    size = (drawing := draw(steps)).size
    for one, other in combinations(drawing.nodes, 2):
        assert abs(one.x - other.x) >= size.width or abs(one.y - other.y) >= size.height, (one, other)


@SHAPES
def test_edges_lead_forward_and_cross_no_step(steps: list[tuple[str, list[str]]]) -> None:
    drawing = draw(steps)
    size, at = drawing.size, {node.key: node for node in drawing.nodes}
    for edge in drawing.edges:
        way = points(edge.path)
        before, after = at[edge.before], at[edge.after]
        assert way[0] == (before.x + size.width, before.y + size.height // 2)
        assert way[-1] == (after.x, after.y + size.height // 2)
        assert all(one[0] < other[0] for one, other in pairwise(way))
        for node in drawing.nodes:
            # Between layers there is no step; within a layer an edge runs level, so its ends there say where.
            assert not any(covers(node, x + 1, y, size) or covers(node, x - 1, y, size) for x, y in way[1:-1]), edge


def test_layer_is_the_longest_path_to_a_step() -> None:
    depth = layers(dict(STEPS))
    assert depth["crm.account"] == 0
    assert depth["delivery.handover"] == 3  # by the note, not by the project
    assert depth["kickoff.task"] == depth["welcome.mail"] == 4


def test_transitive_edges_are_omitted() -> None:
    drawing = draw([("a", []), ("b", ["a"]), ("c", ["a", "b"])])
    assert [(edge.before, edge.after) for edge in drawing.edges] == [("a", "b"), ("b", "c")]


def test_twelve_steps_fit_a_laptop() -> None:
    drawing = draw(STEPS)
    assert (drawing.width <= 1100, drawing.height <= 500) == (True, True)


def test_the_same_steps_give_the_same_drawing() -> None:
    assert draw(STEPS) == draw([(key, list(after)) for key, after in STEPS])


def test_cycles_and_duplicates_are_refused_and_unknown_keys_ignored() -> None:
    with pytest.raises(ValueError, match="circle"):
        draw([("a", ["b"]), ("b", ["a"])])
    with pytest.raises(ValueError, match="twice"):
        draw([("a", []), ("a", [])])
    assert draw([("a", ["nobody"])]).edges == ()
    assert draw([]) == Drawing(draw([]).width, draw([]).height, (), (), Size())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Create the kickoff task", ["Create the kickoff", "task"]),
        ("Send it", ["Send it"]),
        ("Write the handover brief as a note on the deal", ["Write the handover", "brief as a note on…"]),
        ("x" * 30, [f"{'x' * 19}…"]),
    ],
)
def test_title_is_wrapped_and_truncated_with_an_ellipsis(text: str, lines: list[str]) -> None:
    assert wrap(text, 20) == lines
