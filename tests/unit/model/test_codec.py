"""What the store keeps comes back as it was, or is refused with the way on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.model.codec import decode, encode
from gantry.model.entities import Cluster, Group, Instance, Joined, Node, Token, key
from gantry.model.errors import GantryError

_SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31), st.text(max_size=8))
_PARAMETERS = st.dictionaries(st.text(max_size=8), _SCALAR, max_size=3)
_TEXTS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
_NAMES = st.text(max_size=12)
_BY_OS = st.dictionaries(_NAMES, _TEXTS, max_size=2)


def _made(kind: type[Any], **fields: Any) -> st.SearchStrategy[Any]:
    times = {"ctime": st.floats(0, 4e9), "mtime": st.floats(0, 4e9)}
    same = {
        "uuid": st.uuids().map(str),
        "name": _NAMES,
        "tags": st.lists(_NAMES, max_size=3).map(tuple),
    }
    return st.builds(kind, **same, **times, **fields)


ENTITIES = st.one_of(
    _made(Cluster, master_node=_NAMES, beparams=_PARAMETERS, osparams=_BY_OS),
    _made(Group, ndparams=_PARAMETERS),
    _made(Node, primary_ip=_NAMES, secondary_ip=_NAMES, group=_NAMES, offline=st.booleans()),
    _made(Instance, primary_node=_NAMES, hvparams=_PARAMETERS, osparams=_TEXTS),
    _made(Token, secret_hash=_NAMES, expires=st.floats(0, 4e9)),
    _made(Joined, primary_ip=_NAMES, port=st.integers(1, 65535)),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ENTITIES)
def test_every_object_comes_back_as_it_was(entity: Any) -> None:
    assert decode(key(entity), encode(entity)) == entity


def test_a_newer_version_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(GantryError) as caught:
        decode("groups/x", b'{"v": 2, "data": {"uuid": "x", "name": "g"}}')
    assert caught.value.message == "the stored object groups/x has version 2, this program reads 1"
    assert "newer Gantry" in caught.value.hint


@pytest.mark.parametrize(
    "value", [b"", b"\0\0", b"[]", b'{"v": 1}', b'{"v": 1, "data": {"name": 7}}', b'{"v": "1"}']
)
def test_damage_is_refused_and_names_the_object(value: bytes) -> None:
    with pytest.raises(GantryError) as caught:
        decode("nodes/abc", value)
    assert "nodes/abc cannot be read" in caught.value.message
    assert "gantry state restore" in caught.value.hint


def test_fields_that_a_later_minor_version_adds_are_passed_over() -> None:
    group = decode("groups/x", b'{"v": 1, "data": {"uuid": "x", "name": "g", "new": 1}}')
    assert group == Group(uuid=msgspec.convert("x", str), name="g")  # type: ignore[arg-type]  # Uuid
