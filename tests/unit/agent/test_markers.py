"""What becomes of an order whose agent dies is declared with it, and its processes are known."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from gantry.agent import markers
from gantry.model.orders import AfterDeath, AnyOrder

KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(AnyOrder)}
INTERRUPTED = {"HooksRun", "TransferSend", "PowerRun", "OsCreate", "OsInstall", "OsRename"}


class Some:
    """A value of which nothing is looked at but that it is there."""

    def __getattr__(self, name: str) -> Some:
        return Some()

    def __str__(self) -> str:
        return "some"


def made(kind: Any) -> Any:
    """An order of that kind, whatever is in it."""
    return kind(**dict.fromkeys(kind.__struct_fields__, Some()))


def test_scripts_are_interrupted_and_an_image_is_written_anew() -> None:
    def of(after: AfterDeath) -> set[str]:
        return {name for name, kind in KINDS.items() if kind.after_death is after}

    assert of(AfterDeath.INTERRUPTED) == INTERRUPTED
    assert of(AfterDeath.ENDED_AND_DONE_AGAIN) == {"ImageWrite"}
    assert len(of(AfterDeath.DONE_AGAIN)) > 30


@pytest.mark.parametrize("name", KINDS)
def test_processes_are_known_by_something_exactly_where_they_must_be(name: str) -> None:
    order = made(KINDS[name])
    if order.after_death is AfterDeath.DONE_AGAIN:
        with pytest.raises(NotImplementedError, match=name):
            markers.of(order)
    else:
        assert markers.of(order).endswith("=some")
