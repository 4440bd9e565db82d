"""Where each step stands in the picture of a run: a layered drawing, left to right, worked out without looking at anything else.

The usual four moves (Sugiyama, Tagawa and Toda 1981): edges that others imply are left out, layers are longest paths, the order
within a layer follows the neighbours' mean place, and an edge that crosses a layer gets a slot of its own there, so that it runs
between steps and never over one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

SWEEPS = 6


@dataclass(frozen=True)
class Size:
    """In the drawing's own units, which are CSS pixels where it is shown unscaled."""

    width: int = 176
    height: int = 84
    across: int = 36
    """Between two layers."""
    down: int = 16
    """Between two steps of one layer."""
    slot: int = 4
    """The height of an edge's slot in a layer that it crosses."""
    margin: int = 4


@dataclass(frozen=True)
class Node:
    """A step's box; ``x`` and ``y`` are its upper left corner."""

    key: str
    layer: int
    x: int
    y: int


@dataclass(frozen=True)
class Edge:
    """``path`` is what an SVG path's ``d`` takes."""

    before: str
    after: str
    path: str


@dataclass(frozen=True)
class Drawing:
    width: int
    height: int
    nodes: tuple[Node, ...]
    """In the order in which they were given."""
    edges: tuple[Edge, ...]
    size: Size


_Place = tuple[str, str]
"""A step is ``(key, "")``, an edge's slot in a layer that it crosses ``("before>after", layer)``."""


@dataclass
class _Layers:
    """Each layer's places from top to bottom, and which place is joined to which in the next layer."""

    rows: list[list[_Place]]
    right: dict[_Place, list[_Place]] = field(default_factory=dict)
    left: dict[_Place, list[_Place]] = field(default_factory=dict)

    def join(self, one: _Place, other: _Place) -> None:
        self.right.setdefault(one, []).append(other)
        self.left.setdefault(other, []).append(one)

    def neighbours(self, place: _Place) -> list[_Place]:
        return [*self.left.get(place, ()), *self.right.get(place, ())]


def draw(steps: Iterable[tuple[str, Sequence[str]]], *, size: Size | None = None) -> Drawing:
    """``steps``: each key with the keys that come before it; a key that is no step is passed over.

    Raises ``ValueError`` where the steps go in a circle, or where one is listed twice.
    """
    size = size or Size()
    given = list(steps)
    keys = [key for key, _ in given]
    if len(set(keys)) != len(keys):
        raise ValueError("A step is listed twice.")
    after = {key: [name for name in dict.fromkeys(before) if name in keys] for key, before in given}
    edges = _needed(after)
    depth = layers(after)
    parts = _with_slots(keys, depth, edges)
    _order(parts)
    top, height = _heights(parts, size)
    nodes = tuple(Node(key, depth[key], _left(depth[key], size), round(top[key, ""])) for key in keys)
    drawn = tuple(Edge(one, other, _path(one, other, depth, top, size)) for one, other in edges)
    width = _left(max(depth.values(), default=0), size) + size.width + size.margin
    return Drawing(width, round(height), nodes, drawn, size)


def layers(after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Each step's layer: how many steps the longest way to it has. Raises ``ValueError`` for a circle."""
    try:
        order = list(TopologicalSorter(after).static_order())
    except CycleError as error:
        raise ValueError(f"The steps go in a circle: {' → '.join(error.args[1])}.") from None
    depth: dict[str, int] = {}
    for key in order:
        depth[key] = max((depth[before] + 1 for before in after[key]), default=0)
    return depth


def wrap(text: str, width: int, lines: int = 2) -> list[str]:
    """``text`` in at most ``lines`` lines of about ``width`` characters, with an ellipsis where it does not fit."""
    done: list[str] = []
    words = text.split()
    while words and len(done) < lines:
        line = words.pop(0)
        while words and len(line) + 1 + len(words[0]) <= width:
            line += f" {words.pop(0)}"
        done.append(line)
    if words:
        done[-1] = f"{done[-1]} {words[0]}"
    return [line if len(line) <= width else f"{line[: width - 1].rstrip()}…" for line in done]


def _needed(after: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Without those that a longer way says as well (the transitive reduction)."""
    above: dict[str, set[str]] = {}
    for key in layers(after):
        above[key] = set(after[key]).union(*(above[before] for before in after[key]))
    return [
        (before, key)
        for key, befores in after.items()
        for before in befores
        if not any(before in above[other] for other in befores)
    ]


def _with_slots(keys: Sequence[str], depth: Mapping[str, int], edges: Iterable[tuple[str, str]]) -> _Layers:
    parts = _Layers([[] for _ in range(max(depth.values(), default=-1) + 1)])
    for key in keys:
        parts.rows[depth[key]].append((key, ""))
    for one, other in edges:
        way = _way(one, other, depth)
        for layer, place in enumerate(way[1:-1], start=depth[one] + 1):
            parts.rows[layer].append(place)
        for before, after in pairwise(way):
            parts.join(before, after)
    return parts


def _way(one: str, other: str, depth: Mapping[str, int]) -> list[_Place]:
    crossed = range(depth[one] + 1, depth[other])
    return [(one, ""), *((f"{one}>{other}", str(layer)) for layer in crossed), (other, "")]


def _order(parts: _Layers) -> None:
    """Sweep to and fro: who stands by whom follows the neighbours on the side that the sweep comes from. Sorting is stable."""
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        rows = parts.rows if forward else parts.rows[::-1]
        beside = parts.left if forward else parts.right
        for previous, row in pairwise(rows):
            at = {place: index for index, place in enumerate(previous)}
            now = {place: index for index, place in enumerate(row)}
            means = {
                place: _mean([at[other] for other in beside.get(place, ())], default=float(now[place])) for place in row
            }
            row.sort(key=means.__getitem__)


def _heights(parts: _Layers, size: Size) -> tuple[dict[_Place, float], float]:
    """Each place's upper edge, and the drawing's height."""
    tall = {place: size.slot if place[1] else size.height for row in parts.rows for place in row}
    middle: dict[_Place, float] = {}
    for row in parts.rows:
        middle |= _stacked(row, dict.fromkeys(row, 0.0), tall, size)
    for sweep in range(SWEEPS):
        for row in parts.rows if sweep % 2 == 0 else parts.rows[::-1]:
            wanted = {
                place: _mean([middle[other] for other in parts.neighbours(place)], default=middle[place])
                for place in row
            }
            middle |= _stacked(row, wanted, tall, size)
    upper = {place: middle[place] - tall[place] / 2 for place in middle}
    highest = min(upper.values(), default=0.0)
    top = {place: value - highest + size.margin for place, value in upper.items()}
    return top, max((top[place] + tall[place] for place in top), default=0.0) + size.margin


def _stacked(
    row: Sequence[_Place], wanted: Mapping[_Place, float], tall: Mapping[_Place, int], size: Size
) -> dict[_Place, float]:
    """The middles nearest to those that are wanted (least squares) with the row's order and gaps kept: pool adjacent
    violators.
    """
    offsets: list[float] = []
    for index, place in enumerate(row):
        above = row[index - 1] if index else None
        gap = (tall[above] + tall[place]) / 2 + size.down if above else 0.0
        offsets.append((offsets[-1] if offsets else 0.0) + gap)
    blocks: list[tuple[float, int]] = []  # the mean and how many stand in it
    for place, offset in zip(row, offsets, strict=True):
        mean, count = wanted[place] - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        blocks.append((mean, count))
    shifts = [mean for mean, count in blocks for _ in range(count)]
    return {place: shift + offset for place, shift, offset in zip(row, shifts, offsets, strict=True)}


def _path(one: str, other: str, depth: Mapping[str, int], top: Mapping[_Place, float], size: Size) -> str:
    """Curves between layers, straight on through those that it crosses."""
    x = _left(depth[one], size) + size.width
    y = round(top[one, ""] + size.height / 2)
    parts = [f"M{x} {y}"]
    for layer, place in enumerate(_way(one, other, depth)[1:], start=depth[one] + 1):
        to_x, to_y = _left(layer, size), round(top[place] + (size.slot if place[1] else size.height) / 2)
        bend = (to_x - x) // 2
        parts.append(f"C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}")
        x, y = to_x, to_y
        if place[1]:
            x += size.width
            parts.append(f"H{x}")
    return "".join(parts)


def _left(layer: int, size: Size) -> int:
    return size.margin + layer * (size.width + size.across)


def _mean(values: Sequence[float], *, default: float) -> float:
    return sum(values) / len(values) if values else default
