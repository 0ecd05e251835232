"""``docs/hooks/conformance.md`` covers everything, and every test that it names is there."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support.conformance import TESTS, Page

PAGE: Final = Page(TESTS.parent / "docs/hooks/conformance.md", r"[0-9.]+-\d+|[WDT]\d+")
SENTENCES: Final = {
    "1": 2, "2": 4, "2.1": 6, "2.2": 3, "2.3": 2, "2.4": 3, "2.5": 7, "2.6": 7,
    "2.7": 1, "2.7.1": 5, "2.7.2": 10,
}  # fmt: skip
"""The sections of the founding document, and how many statements each has."""
POINTS: Final = {"W": 32, "D": 41, "T": 22}


def test_every_statement_and_every_point_has_a_row() -> None:
    expected = {
        f"{section}-{number}"
        for section, count in SENTENCES.items()
        for number in range(1, count + 1)
    }
    expected |= {f"{kind}{n}" for kind, count in POINTS.items() for n in range(1, count + 1)}
    assert PAGE.rows.keys() == expected


def test_no_line_of_the_tables_is_passed_over() -> None:
    assert PAGE.all_lines_are_rows()


@pytest.mark.parametrize("number", PAGE.rows)
def test_every_row_says_something_and_names_tests_that_exist(number: str) -> None:
    PAGE.check(number)
