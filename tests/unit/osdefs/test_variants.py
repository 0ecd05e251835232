"""The variant rule."""

from __future__ import annotations

import pytest

from gantry.model.errors import Rejected
from gantry.model.live import OsFacts
from gantry.osdefs.variants import split, variant_of

WITH = OsFacts(name="deb", path="/deb", variants=("bookworm", "trixie"), api_versions=(20,))
WITHOUT = OsFacts(name="noop", path="/noop", api_versions=(20,))


def test_a_full_name_is_split_at_the_first_plus() -> None:
    assert split("deb+trixie") == ("deb", "trixie")
    assert split("deb+a+b") == ("deb", "a+b")
    assert split("deb") == ("deb", "")


def test_a_declared_variant_is_taken() -> None:
    assert variant_of(WITH, "deb+trixie") == "trixie"
    assert variant_of(WITHOUT, "noop") == ""


@pytest.mark.parametrize(
    ("facts", "name", "words"),
    [
        (WITHOUT, "noop+x", "has no variants"),
        (WITH, "deb", "none was asked for"),
        (WITH, "deb+sid", "does not declare the variant sid"),
    ],
)
def test_what_breaks_the_rule_is_refused(facts: OsFacts, name: str, words: str) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        variant_of(facts, name)
    assert caught.value.hint


def test_force_allows_all_of_it() -> None:
    assert variant_of(WITH, "deb+sid", force=True) == "sid"
    assert variant_of(WITH, "deb", force=True) == "bookworm"
    assert variant_of(WITHOUT, "noop+x", force=True) == ""
