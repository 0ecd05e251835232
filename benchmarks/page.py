"""Tables of docs/performance.md between marks: replaced as a whole, or row by row.

A mark is a pair of HTML comments, ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``. Pure but
for ``PAGE``; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import HEAD, Figure, lines

BESIDE = ("what", "on etcd", "in SQLite", "best run on etcd", "reference", "remark")
PAGE = Path(__file__).parents[1] / "docs/performance.md"


def between(page: str, name: str) -> str:
    """What stands between the marks; ValueError where they are not there."""
    return _split(page, name)[1]


def replaced(page: str, name: str, text: str) -> str:
    """The page with ``text`` between the marks; ValueError where they are not there."""
    before, _, after = _split(page, name)
    return f"{before}\n\n{text.strip()}\n\n{after}"


def _split(page: str, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    start, stop = page.find(begin), page.find(end)
    if start < 0 or stop < start:
        raise ValueError(f"the page has no {begin} with an {end} after it")
    start += len(begin)
    return page[:start], page[start:stop], page[stop:]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the table in ``text`` by their first cell, without head and rule."""
    found = [line for line in text.splitlines() if line.startswith("| ")]
    split = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in found]
    return {cells[0]: cells for cells in split[2:]}


def merged(before: Mapping[str, Sequence[str]], figures: Sequence[Figure]) -> str:
    """The table with new rows in the place of those of the same name, the others at its end."""
    cells = {**before, **{figure.what: figure.cells for figure in figures}}
    return lines([HEAD, ["---"] * len(HEAD), *cells.values()])


def beside(
    before: Mapping[str, Sequence[str]],
    figures: Sequence[Figure],
    others: Mapping[str, Sequence[str]],
) -> str:
    """The same of another store: instead of a target, what the rows in ``others`` measured."""
    cells = dict(before)
    for figure in figures:
        what, _, value, best, _, reference, remark = figure.cells
        cells[what] = [what, value, "", best, reference, remark]
    measured = HEAD.index("measured")
    shown = [
        [what, value, others[what][measured] if what in others else "", *rest]
        for what, value, _, *rest in cells.values()
    ]
    return lines([BESIDE, ["---"] * len(BESIDE), *shown])
