"""Pages that name, for each statement of an interface, the tests that hold it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
_TEST: Final = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


class Page:
    """A page of tables whose rows are number, statement, tests; ``numbers`` fits a number."""

    def __init__(self, path: Path, numbers: str) -> None:
        self._lines = path.read_text().splitlines()
        row = re.compile(rf"\| (?P<number>{numbers}) \| (?P<says>.*) \| (?P<tests>.*) \|")
        found = [match for line in self._lines if (match := row.fullmatch(line))]
        counted = Counter(match["number"] for match in found)
        assert not [number for number, times in counted.items() if times > 1]
        self.rows = {match["number"]: (match["says"], match["tests"]) for match in found}

    def all_lines_are_rows(self) -> bool:
        """No line of a table is passed over."""
        lines = [line for line in self._lines if line.startswith("| ")]
        titles = [line for line in lines if line.startswith(("| § |", "| # |"))]
        return len(lines) - len(titles) == len(self.rows)

    def check(self, number: str) -> None:
        """The row says something, and names tests that are there, and nothing else."""
        says, named = self.rows[number]
        assert says.strip()
        found = _TEST.findall(named)
        assert found, "a row without a test"
        assert _TEST.sub("", named).strip(", ") == "", "something that is no test"
        for path, name in found:
            assert name in _functions(TESTS / path), f"{path} has no {name}"


@cache
def _functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))
