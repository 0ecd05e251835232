"""Filters: what they mean, and that nothing that a client sends breaks or stops the master."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.api.query import filters
from gantry.api.query.fields import Field, Fields, Kind, Missing, UnknownField
from gantry.api.query.patterns import pattern
from gantry.model.errors import Rejected

OBJECTS: list[dict[str, Any]] = [
    {"name": "web1", "mem": 512, "up": True, "tags": ["prod", "x"], "ip": "10.0.0.1"},
    {"name": "web2", "mem": 4096, "up": False, "tags": [], "ip": Missing.UNAVAILABLE},
    {"name": "db10", "mem": Missing.NO_DATA, "up": True, "tags": ["prod"], "ip": None},
]


def _field(name: str, kind: Kind) -> Field[Any, Any]:
    return Field(name, name, kind, name, lambda view, one: one[name])


FIELDS: Fields[Any, Any] = Fields(
    "thing",
    ("name",),
    [
        _field("name", Kind.TEXT),
        _field("mem", Kind.UNIT),
        _field("up", Kind.BOOL),
        _field("tags", Kind.OTHER),
        _field("ip", Kind.TEXT),
    ],
)


def names(text: str) -> str:
    view: Any = None
    return " ".join(one["name"] for one in filters.compiled(text, FIELDS).choose(view, OBJECTS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name == "web1"', "web1"),
        ("name = 'web1'", "web1"),
        ('name != "web1"', "web2 db10"),
        ("mem > 512", "web2"),
        ("mem >= 512", "web1 web2"),
        ("mem < 4096", "web1"),
        ("mem <= 0.5", ""),
        ('mem == "4G"', "web2"),
        ('mem >= "0.5g"', "web1 web2"),
        ("up", "web1 db10"),
        ("?up", "web1 db10"),
        ("not up", "web2"),
        ("!up", "web2"),
        ("up == True", "web1 db10"),
        ("up == False", "web2"),
        ('"prod" in tags', "web1 db10"),
        ('"prod" not in tags', "web2"),
        ("tags", "web1 db10"),
        ("name =~ m/^web/", "web1 web2"),
        ("name =~ m#^WEB#i", "web1 web2"),
        ("name !~ m/^web/", "db10"),
        (r"ip =~ m/10\.0/", "web1"),
        ("tags =~ m/^pr/", "web1 db10"),
        ('name =* "web*"', "web1 web2"),
        ('name =* "WEB?"', "web1 web2"),
        ('name !* "web*"', "db10"),
        ('name =* "[w]eb1"', ""),
        ("ip", "web1"),
        ('up and name == "web1" or name == "web2"', "web1 web2"),
        ('up and (name == "web1" or name == "web2")', "web1"),
        ("not (up and mem)", "web2 db10"),
        ('up & (name == "web1" | name == "db10")', "web1 db10"),
        ("UP" if False else "up AND up", "web1 db10"),
        ('name == "a\\"b" or up', "web1 db10"),
        ("  up  ", "web1 db10"),
        ('ip != "10.0.0.1"', "web2 db10"),
    ],
)
def test_a_filter_chooses(text: str, expected: str) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "name ==",
        "== 3",
        "name web1",
        "(up",
        "up)",
        "up and",
        "not",
        '"x" of tags',
        '"x"',
        "name =~ web",
        "name =~ m/(/",
        "name =~ m/abc",
        "name =~ m/(a*)*b/",
        "name =~ m/(a|aa)+$/",
        r"name =~ m/(.)\1/",
        "name =~ m/(?=x)/",
        "name == 'a",
        "mem > lots",
        'mem > "lots"',
        'up == "yes"',
        "name =* 3",
        "name == m/x/",
        "(" * 60 + "up" + ")" * 60,
        "not " * 60 + "up",
        "up or " * 2000 + "up",
        "€",
        "mem == 1e3",
        "name =~ m/" + "a" * 600 + "/",
    ],
)
def test_what_makes_no_sense_is_rejected(text: str) -> None:
    with pytest.raises(Rejected):
        names(text)


def test_an_unknown_field_in_a_filter_is_told_as_such() -> None:
    with pytest.raises(UnknownField, match="nam"):
        names('nam == "x"')


def test_a_filter_says_which_fields_it_looks_at() -> None:
    assert filters.compiled('up or not (mem > 3 and "x" in tags)', FIELDS).fields == {
        "up",
        "mem",
        "tags",
    }


@pytest.mark.parametrize("text", [".*.*.*.*.*x", "a*a*a*a*a*b", "(.*a){20}b", "a?" * 30 + "b"])
def test_no_pattern_holds_the_master_up(text: str) -> None:
    begin = time.perf_counter()
    with contextlib.suppress(Rejected):
        pattern(text).found_in("a" * 200)
    assert time.perf_counter() - begin < 2


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_rejected(text: str) -> None:
    with contextlib.suppress(Rejected):
        names(text)


WORDS = st.sampled_from(
    [
        '"web1"',
        "12",
        "m/w/",
        "True",
        "'x*'",
        *"()!?&|",
        "and",
        "or",
        "not",
        "in",
        "name",
        "mem",
        "up",
        "tags",
        "==",
        "<",
        "=~",
        "=*",
    ]
)


@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_any_sequence_of_words_is_a_filter_or_is_rejected(text: str) -> None:
    with contextlib.suppress(Rejected):
        names(text)


LEAVES = st.sampled_from(["up", "mem > 600", '"prod" in tags', 'name =* "web*"'])
MEANING: dict[str, Callable[[dict[str, Any]], bool]] = {
    "up": lambda one: one["up"],
    "mem > 600": lambda one: not isinstance(one["mem"], Missing) and one["mem"] > 600,
    '"prod" in tags': lambda one: "prod" in one["tags"],
    'name =* "web*"': lambda one: one["name"].startswith("web"),
}
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: ("not", one)),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    ),
    max_leaves=8,
)


def written(tree: Any) -> str:
    match tree:
        case str():
            return tree
        case ("not", one):
            return f"not ({written(one)})"
        case (word, left, right):
            return f"({written(left)}) {word} ({written(right)})"
    raise AssertionError


def holds(tree: Any, one: dict[str, Any]) -> bool:
    match tree:
        case str():
            return bool(MEANING[tree](one))
        case ("not", inner):
            return not holds(inner, one)
        case ("and", left, right):
            return holds(left, one) and holds(right, one)
        case (_, left, right):
            return holds(left, one) or holds(right, one)
    raise AssertionError


@given(TREES)
def test_words_and_brackets_mean_what_logic_says(tree: Any) -> None:
    expected = [one["name"] for one in OBJECTS if holds(tree, one)]
    assert names(written(tree)) == " ".join(expected)
