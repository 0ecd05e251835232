"""Points of an export on a node: added whole or not at all, and taken out."""

from __future__ import annotations

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.test_exports import DIRECTORY, NAME, Exports
from tests.fakes.export_files import exported

from gantry.model import export_facts
from gantry.model.backup_orders import (
    CONFIG,
    ExportBegin,
    ExportDiscard,
    ExportFinish,
    ExportRemove,
    ExportRevert,
    ExportSettle,
    PointFacts,
    ReadExport,
    ReadExports,
    config_digest,
)
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.export_facts import Facts
from gantry.model.increment_orders import ExportAside, ExportPrune, ExportReplace, ExportRestore


@pytest.fixture
def exports(harness: Harness) -> Exports:
    return Exports(harness)


def config(point: int) -> str:
    return exported("dump0")[CONFIG].replace("timestamp = 1", f"timestamp = {1000 + point}")


def finish(point: int) -> ExportFinish:
    facts = export_facts.encode(Facts(point=point, mark=f"mark{point}"))
    return ExportFinish(instance=NAME, config=config(point), facts=facts, point=point)


async def add(exports: Exports, *points: int) -> None:
    for point in points:
        upon = None if point == 1 else point - 1
        await exports.do(ExportBegin(instance=NAME, upon=upon), finish(point))
        await exports.do(ExportSettle(instance=NAME))


async def points(exports: Exports) -> list[int]:
    found = await exports.harness.agents.ask(exports.harness.address, ReadExports(), 30.0)
    listed: tuple[PointFacts, ...] = found.exports[0].points if found.exports else ()
    return [point.number for point in listed]


async def read(exports: Exports, point: int | None = None) -> tuple[int, str, str]:
    question = ReadExport(directory=DIRECTORY, point=point)
    found = await exports.harness.agents.ask(exports.harness.address, question, 30.0)
    return found.point, found.config, export_facts.decode(found.facts).mark


async def test_points_are_added_and_the_last_one_is_meant(exports: Exports) -> None:
    await add(exports, 1, 2, 3)
    assert await points(exports) == [1, 2, 3]
    assert await read(exports) == (3, config(3), "mark3")
    assert await read(exports, 1) == (1, config(1), "mark1")
    with pytest.raises(Rejected):
        await read(exports, 4)
    # What is owed to a node for long does not take away a chain that has a newer point.
    await exports.do(ExportAside(instance=NAME, before=1002.5))
    assert await points(exports) == [1, 2, 3]
    # Nor does anything by the way.
    await exports.do(ExportRemove(instance=NAME, before=1003.5), ExportRemove(instance=NAME))
    assert await points(exports) == [1, 2, 3]
    await exports.do(ExportAside(instance=NAME, before=1003.5))
    assert await exports.names() == []


async def test_a_point_is_whole_or_not_there(exports: Exports) -> None:
    await add(exports, 1, 2)
    await exports.do(ExportBegin(instance=NAME, upon=2), ExportDiscard(instance=NAME))
    assert await points(exports) == [1, 2]
    await exports.do(ExportBegin(instance=NAME, upon=2), finish(3), finish(3))
    assert await points(exports) == [1, 2, 3]
    for _ in range(2):
        await exports.do(ExportRevert(instance=NAME, digest=config_digest(config(3), 3)))
        assert await points(exports) == [1, 2]


async def test_a_chain_that_is_another_one_meanwhile_gets_no_point(exports: Exports) -> None:
    with pytest.raises(OperationFailed, match="does not end with point 1"):
        await exports.do(ExportBegin(instance=NAME, upon=1))
    await add(exports, 1, 2)
    with pytest.raises(OperationFailed, match="does not end with point 1"):
        await exports.do(ExportBegin(instance=NAME, upon=1))


async def test_a_point_is_taken_out(exports: Exports) -> None:
    await add(exports, 1, 2, 3, 4)
    for point, left in ((2, [1, 3, 4]), (1, [3, 4]), (4, [3])):
        prune = ExportPrune(instance=NAME, point=point)
        await exports.do(prune, ExportDiscard(instance=NAME))
        assert point in await points(exports)
        await exports.do(prune, prune)
        for _ in range(2):
            await exports.do(ExportReplace(instance=NAME, point=point), prune)
            assert await points(exports) == left
        await exports.do(ExportSettle(instance=NAME))
    assert await read(exports) == (3, config(3), "mark3")
    with pytest.raises(Rejected):
        await exports.do(ExportPrune(instance=NAME, point=3))
    # The next one goes on counting, as somebody may still call the one that went by its number.
    found = await exports.harness.agents.ask(
        exports.harness.address, ReadExport(directory=DIRECTORY), 30.0
    )
    assert export_facts.decode(found.facts).highest == 4
    await exports.do(ExportBegin(instance=NAME, upon=3), finish(5))
    assert await points(exports) == [3, 5]
    assert await read(exports, 3) == (3, config(3), "mark3")


async def test_nothing_but_what_was_pruned_takes_the_place(exports: Exports) -> None:
    await add(exports, 1, 2)
    await exports.do(ExportBegin(instance=NAME, upon=2))
    await exports.do(ExportReplace(instance=NAME, point=2))
    assert await points(exports) == [1, 2]
    await exports.do(ExportBegin(instance=NAME), ExportReplace(instance=NAME, point=2))
    assert await points(exports) == [1, 2]


async def prune(exports: Exports, point: int) -> None:
    await exports.do(
        ExportPrune(instance=NAME, point=point), ExportReplace(instance=NAME, point=point)
    )


@pytest.mark.parametrize("point", [1, 2, 3])
async def test_a_point_that_was_taken_out_comes_back(exports: Exports, point: int) -> None:
    await add(exports, 1, 2, 3)
    await prune(exports, point)
    for _ in range(2):
        await exports.do(ExportRestore(instance=NAME, point=point))
        assert await points(exports) == [1, 2, 3]
    await exports.do(ExportSettle(instance=NAME), ExportRestore(instance=NAME, point=point))
    assert await points(exports) == [1, 2, 3]


async def test_a_point_that_was_taken_out_does_not_come_back_after_another_export(
    exports: Exports,
) -> None:
    """Whatever is still owed to the node then, and in whichever order it comes."""
    await add(exports, 1, 2)
    await prune(exports, 2)
    await exports.do(ExportBegin(instance=NAME, upon=1))
    await exports.do(ExportRestore(instance=NAME, point=2), ExportSettle(instance=NAME))
    assert await points(exports) == [1, 2]
    await exports.do(ExportDiscard(instance=NAME))
    await prune(exports, 2)
    await exports.do(ExportBegin(instance=NAME, upon=1), finish(3))
    for order in (ExportRestore(instance=NAME, point=2), ExportSettle(instance=NAME)) * 2:
        await exports.do(order)
        assert await points(exports) == [1, 3]


async def test_a_chain_that_was_removed_comes_back_or_is_gone(exports: Exports) -> None:
    await add(exports, 1, 2)
    aside = ExportAside(instance=NAME, before=1002.5)
    await exports.do(aside, aside)
    assert await exports.names() == []
    for _ in range(2):
        await exports.do(ExportRestore(instance=NAME))
        assert await points(exports) == [1, 2]
    await exports.do(aside)
    with pytest.raises(OperationFailed, match="does not end with point 2"):
        await exports.do(ExportBegin(instance=NAME, upon=2))
    await exports.do(ExportBegin(instance=NAME), finish(1))
    for order in (ExportRestore(instance=NAME), ExportSettle(instance=NAME)) * 2:
        await exports.do(order)
        assert await points(exports) == [1]


async def test_what_was_set_aside_before_does_not_come_back_with_all_removed(
    exports: Exports,
) -> None:
    """A node died before the job that took point 2 out was settled."""
    await add(exports, 1, 2)
    await prune(exports, 2)
    await exports.do(ExportAside(instance=NAME, before=1001.5), ExportBegin(instance=NAME))
    assert await exports.names() == []
    await exports.do(ExportDiscard(instance=NAME), ExportSettle(instance=NAME))
    await exports.do(ExportBegin(instance=NAME))
    assert await exports.names() == []


async def test_what_is_owed_of_an_earlier_job_leaves_what_a_later_one_set_aside(
    exports: Exports,
) -> None:
    """The later one failed, and its undo is owed, too: the earlier export must come back."""
    first, second = finish(1), ExportFinish(instance=NAME, config=config(7), facts="")
    await exports.do(ExportBegin(instance=NAME), first)
    await exports.do(ExportBegin(instance=NAME), second)
    await exports.do(ExportSettle(instance=NAME, digest=config_digest(first.config)))
    await exports.do(ExportRevert(instance=NAME, digest=config_digest(second.config)))
    assert await read(exports) == (1, config(1), "mark1")


async def test_the_export_of_another_instance_of_that_name_is_not_removed_by_the_way(
    exports: Exports,
) -> None:
    facts = export_facts.encode(Facts(instance="theirs"))
    made = ExportFinish(instance=NAME, config=config(1), facts=facts)
    await exports.do(ExportBegin(instance=NAME), made)
    await exports.do(ExportRemove(instance=NAME, before=1002.0, owner="ours"))
    assert await points(exports) == [1]
    await exports.do(ExportRemove(instance=NAME, before=1002.0, owner="theirs"))
    assert await points(exports) == []
