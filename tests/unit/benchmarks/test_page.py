"""Rows of the page of figures: replaced where they stand, on etcd beside those in SQLite."""

from __future__ import annotations

import pytest
from benchmarks import page
from benchmarks.all import ALL, ON_ETCD, ON_STORE, TABLES, written
from benchmarks.figures import Figure, table

PAGE = """# Performance
<!-- figures: begin -->
nothing yet
<!-- figures: end -->
between
<!-- large clusters: begin --><!-- large clusters: end -->
<!-- on etcd: begin -->
not measured
<!-- on etcd: end -->
the end
"""


def row(what: str, value: float, remark: str = "") -> Figure:
    return Figure(what=what, value=value, unit="ms", target=20.0, best=value, remark=remark)


def measured(text: str, mark: str) -> dict[str, str]:
    return {what: cells[2] for what, cells in page.rows(page.between(text, mark)).items()}


def test_rows_stay_where_they_are_when_others_are_measured_again() -> None:
    first = {"noop_jobs": [row("a job", 10), row("a commit", 11)], "verify": [row("verify", 12)]}
    text = written(PAGE, first, "sqlite", "a machine")
    text = written(text, {"noop_jobs": [row("a job", 30)]}, "sqlite", "another machine")
    assert measured(text, "figures") == {
        "a job": "30.0 ms",
        "a commit": "11.0 ms",
        "verify": "12.0 ms",
    }
    assert "another machine" in text
    assert "a machine" not in text
    assert "**no**" in text
    assert text.startswith("# Performance\n")
    assert "\nbetween\n" in text
    assert text.endswith("the end\n")


def test_each_row_is_in_the_table_of_its_kind() -> None:
    text = written(PAGE, {"verify": [row("v", 1)], "takeover": [row("t", 2)]}, "sqlite", "m")
    assert list(measured(text, "figures")) == ["v"]
    assert list(measured(text, "large clusters")) == ["t"]


def test_what_etcd_takes_stands_beside_what_sqlite_does() -> None:
    text = written(PAGE, {"verify": [row("v", 1.5)], "scale": [row("s", 2)]}, "sqlite", "m")
    text = written(text, {"scale": [row("s", 7)], "verify": [row("v", 4)]}, "etcd", "on etcd")
    assert page.rows(page.between(text, ON_ETCD)) == {
        "s": ["s", "7 ms", "2 ms", "7", "", ""],
        "v": ["v", "4 ms", "1.5 ms", "4", "", ""],
    }
    # SQLite measured anew later shows there too.
    text = written(text, {"verify": [row("v", 1)]}, "sqlite", "later")
    assert page.rows(page.between(text, ON_ETCD))["v"][1:3] == ["4 ms", "1 ms"]
    assert "on etcd\n" in page.between(text, ON_ETCD)


def test_empty_cells_are_read_back_as_they_were_written() -> None:
    text = f"{table([row('a', 1), row('b', 2, 'said')])}\n\na machine"
    assert page.rows(text)["a"] == ["a", "≤ 20.0 ms", "1 ms", "1", "yes", "", ""]
    assert page.rows(text)["b"][-1] == "said"


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- figures: begin -->"):
        page.between("# Performance\n", "figures")


def test_the_documentation_has_all_tables() -> None:
    text = page.PAGE.read_text()
    for mark in (*TABLES, ON_ETCD, "growth"):
        page.between(text, mark)
    assert {name for names in TABLES.values() for name in names} == set(ALL)
    assert set(ON_STORE) < set(ALL)
