"""``docs/hooks/conformance.md`` covers everything, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[2]
PAGE: Final = TESTS.parent / "docs/hooks/conformance.md"
SENTENCES: Final = {
    "1": 2, "2": 4, "2.1": 6, "2.2": 3, "2.3": 2, "2.4": 3, "2.5": 7, "2.6": 6,
    "2.7": 1, "2.7.1": 5, "2.7.2": 10,
}  # fmt: skip
"""The sections of the founding document, and how many statements each has."""
POINTS: Final = {"W": 32, "D": 40, "T": 20}
_ROW: Final = re.compile(r"\| (?P<number>[0-9.]+-\d+|[WDT]\d+) \| (?P<says>.*) \| (?P<tests>.*) \|")
_TEST: Final = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def rows() -> dict[str, tuple[str, str]]:
    found = [match for line in PAGE.read_text().splitlines() if (match := _ROW.fullmatch(line))]
    numbers = Counter(match["number"] for match in found)
    assert not [number for number, times in numbers.items() if times > 1]
    return {match["number"]: (match["says"], match["tests"]) for match in found}


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def test_every_statement_and_every_point_has_a_row() -> None:
    expected = {
        f"{section}-{number}"
        for section, count in SENTENCES.items()
        for number in range(1, count + 1)
    }
    expected |= {f"{kind}{n}" for kind, count in POINTS.items() for n in range(1, count + 1)}
    assert rows().keys() == expected


def test_no_line_of_the_tables_is_passed_over() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    titles = [line for line in lines if line.startswith(("| § |", "| # |"))]
    assert len(lines) - len(titles) == len(rows())


@pytest.mark.parametrize("number", rows())
def test_every_row_says_something_and_names_tests_that_exist(number: str) -> None:
    says, named = rows()[number]
    assert says.strip()
    found = _TEST.findall(named)
    assert found, "a row without a test"
    assert _TEST.sub("", named).strip(", ") == "", "something that is no test"
    for path, name in found:
        assert name in functions(TESTS / path), f"{path} has no {name}"
