"""Tables, JSON and nested values as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.cli import table

FIELDS = [
    {"name": "name", "title": "Instance", "kind": "text"},
    {"name": "ram", "title": "Memory", "kind": "unit"},
    {"name": "tags", "title": "Tags", "kind": "other"},
]
ROWS = [["web1", 512, ["a", "b"]], ["longer", 20480, []]]


def test_columns_are_as_wide_as_their_widest_cell_and_sizes_stand_right() -> None:
    assert table.show(FIELDS, ROWS) == (
        "Instance Memory Tags\n"
        "web1       512M a,b\n"
        "longer    20.0G -\n"
    )  # fmt: skip


def test_titles_can_be_left_out() -> None:
    assert table.show(FIELDS, ROWS[:1], headers=False) == "web1 512M a,b\n"


def test_separated_sizes_are_bare_mebibytes() -> None:
    assert table.show(FIELDS, ROWS, separator="|", headers=False) == (
        "web1|512|a,b\nlonger|20480|-\n"
    )


def test_units_hold_for_separated_columns_too() -> None:
    assert table.show(FIELDS, ROWS, separator=":", headers=False, units="g") == (
        "web1:0.5:a,b\nlonger:20.0:-\n"
    )


def test_no_rows_show_titles_alone_or_nothing() -> None:
    assert table.show(FIELDS, []) == "Instance Memory Tags\n"
    assert table.show(FIELDS, [], headers=False) == ""


def test_why_a_value_is_missing_is_a_sign_or_with_verbose_a_word() -> None:
    rows: list[list[object]] = [["web1", None, []], ["web2", None, []], ["web3", None, []]]
    gaps = table.gaps([[1, 1, "nodata"], [2, 1, "offline"]])
    signs = table.show(FIELDS, rows, missing=gaps, separator="|", headers=False)
    words = table.show(FIELDS, rows, missing=gaps, separator="|", headers=False, verbose=True)
    assert [line.split("|")[1] for line in signs.splitlines()] == ["-", "?", "*"]
    assert [line.split("|")[1] for line in words.splitlines()] == [
        "(unavail)",
        "(nodata)",
        "(offline)",
    ]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, "bool", "Y"),
        (False, "bool", "N"),
        (0, "number", "0"),
        (0, "unit", "0M"),
        ("", "text", "-"),
        (None, "text", "-"),
        ([1024, None], "unit", "1.0G,-"),
        ({"b": 1, "a": None}, "other", "a=-, b=1"),
        (1.5, "float", "1.5"),
        ("evil\x1b[31m\n", "text", "evil\\x1b[31m\\x0a"),
        ("evil\u202egpj.sh\u2028", "text", "evil\\u202egpj.sh\\u2028"),
    ],
)
def test_cells(value: object, kind: str, text: str) -> None:
    assert table.formatter(kind, "h", "-")(value) == text


@pytest.mark.parametrize(
    ("mebibytes", "unit", "text"),
    [
        (1023, "h", "1023M"),
        (1024, "h", "1.0G"),
        (1536, "g", "1.5"),
        (1048576, "h", "1.0T"),
        (1048576, "t", "1.0"),
        (512, "m", "512"),
    ],
)
def test_sizes(mebibytes: int, unit: str, text: str) -> None:
    assert table.size(mebibytes, unit) == text


def test_json_is_an_array_of_objects_by_field_name() -> None:
    assert json.loads(table.objects(FIELDS, ROWS)) == [
        {"name": "web1", "ram": 512, "tags": ["a", "b"]},
        {"name": "longer", "ram": 20480, "tags": []},
    ]
    assert json.loads(table.objects(FIELDS, [])) == []


@given(
    st.lists(
        st.lists(
            st.none() | st.booleans() | st.text(max_size=8) | st.integers(0, 10**9),
            min_size=3,
            max_size=3,
        ),
        max_size=6,
    )
)
def test_every_row_is_one_line_whatever_is_in_it(rows: list[list[object]]) -> None:
    text = table.show(FIELDS, rows)
    assert len(text.split("\n")) == len(rows) + 2
    json.loads(table.objects(FIELDS, rows))


def test_nested_values_are_indented() -> None:
    value = {
        "name": "web1",
        "up": True,
        "none": None,
        "nics": [{"ip": "10.0.0.1", "mac": "aa"}],
        "tags": ["a"],
        "beparams": {"memory": 2048},
    }
    assert table.document(value) == (
        "name: web1\n"
        "up: yes\n"
        "none: -\n"
        "nics:\n"
        "  - ip: 10.0.0.1\n"
        "    mac: aa\n"
        "tags:\n"
        "  - a\n"
        "beparams:\n"
        "  memory: 2.0G\n"
    )


def test_a_value_of_several_lines_keeps_them_and_nothing_that_moves_the_cursor() -> None:
    text = table.document({"message": "hooks failed:\n  node: a\x1b[2J"})
    assert text == "message: hooks failed:\n          node: a\\x1b[2J\n"
