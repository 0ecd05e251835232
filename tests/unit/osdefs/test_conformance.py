"""``docs/os/conformance.md`` covers everything, and every test that it names is there."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support.conformance import TESTS, Page

PAGE: Final = Page(TESTS.parent / "docs/os/conformance.md", r"[SFERCBTD]\d+")
POINTS: Final = {"S": 28, "F": 24, "E": 17, "R": 22, "C": 18, "B": 24, "T": 10, "D": 23}
"""Sentences of the founding document; finding, environment, running, checking; bad definitions;
broken transfers; what we do otherwise."""


def test_every_statement_and_every_point_has_a_row() -> None:
    expected = {f"{kind}{n}" for kind, count in POINTS.items() for n in range(1, count + 1)}
    assert PAGE.rows.keys() == expected


def test_no_line_of_the_tables_is_passed_over() -> None:
    assert PAGE.all_lines_are_rows()


@pytest.mark.parametrize("number", PAGE.rows)
def test_every_row_says_something_and_names_tests_that_exist(number: str) -> None:
    PAGE.check(number)
