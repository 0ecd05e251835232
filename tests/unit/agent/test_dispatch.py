"""Every order and question has its code, and the code takes just that."""

from __future__ import annotations

import inspect
import typing

import msgspec
import pytest

from gantry.agent.dispatch import ORDERS, QUESTIONS, loaded
from gantry.model.orders import AnyOrder, AnyQuestion

KINDS = [
    *((order, ORDERS) for order in typing.get_args(AnyOrder)),
    *((question, QUESTIONS) for question in typing.get_args(AnyQuestion)),
]


def test_nothing_has_code_that_nobody_can_send() -> None:
    assert set(ORDERS) == set(typing.get_args(AnyOrder))
    assert set(QUESTIONS) == set(typing.get_args(AnyQuestion))


@pytest.mark.parametrize(("kind", "table"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_code_takes_what_it_is_registered_for(
    kind: type[msgspec.Struct], table: typing.Mapping[type[msgspec.Struct], typing.Any]
) -> None:
    code = loaded(table[kind])
    assert inspect.iscoroutinefunction(code)
    given = list(typing.get_type_hints(code).values())[1]
    assert kind is given or kind in typing.get_args(given), f"{code.__qualname__} takes {given}"
