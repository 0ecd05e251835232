"""The last words on scripts that were switched off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.hooks.disabled import merged, parse, text, why
from gantry.model.hook_switch import Switched

WORDS = st.lists(
    st.builds(
        Switched,
        script=st.sampled_from(["a-pre.d/1", "a-pre.d/2", "b-post.d/1"]),
        enabled=st.booleans(),
        since=st.integers(0, 5).map(float),
        reason=st.text(max_size=5),
    ),
    max_size=6,
)


def word(script: str, *, enabled: bool = False, since: float = 1.0, reason: str = "") -> Switched:
    return Switched(script=script, enabled=enabled, since=since, reason=reason, by="root", job=17)


@given(WORDS, WORDS)
def test_what_is_written_is_read_again(first: list[Switched], second: list[Switched]) -> None:
    known = merged(merged({}, first), second)
    assert parse(text(known)) == known


@given(WORDS)
def test_the_latest_word_counts_in_whatever_order_they_come(words: list[Switched]) -> None:
    known = merged({}, words)
    for script, last in known.items():
        assert last.since == max(one.since for one in words if one.script == script)


def test_words_on_scripts_that_are_on_are_forgotten_some_day() -> None:
    many = [word(f"a-pre.d/{n}", enabled=True, since=float(n)) for n in range(500)]
    known = merged({"a-pre.d/x": word("a-pre.d/x")}, many)
    assert len(known) == 201
    assert "a-pre.d/x" in known
    assert "a-pre.d/499" in known


def test_why_it_does_not_run() -> None:
    off = word("a-pre.d/1", since=1_800_000_000.0, reason="the CMDB is down")
    assert why(off) == (
        "it is disabled since 2027-01-15 08:00 UTC by root (job 17): the CMDB is down"
    )
    assert why(Switched(script="a-pre.d/1", enabled=False, since=0.0)) == (
        "it is disabled since 1970-01-01 00:00 UTC"
    )
    assert why(word("a-pre.d/1", enabled=True)) == ""


@pytest.mark.parametrize("since", [1e300, -1e300, 1e15, -1e15, float("inf"), float("nan")])
def test_a_day_that_there_is_not_switches_nothing_on(since: float) -> None:
    assert why(word("a-pre.d/1", since=since, reason="no")) == "it is disabled by root (job 17): no"


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"script": 1}]', b"\xff"])
def test_what_is_no_such_file_is_told_from_an_empty_one(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse(content)
