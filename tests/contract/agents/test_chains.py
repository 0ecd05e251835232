"""Points of an export on a node: added whole or not at all, and taken out."""

from __future__ import annotations

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.test_exports import DIRECTORY, NAME, Exports
from tests.fakes.exports import exported

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
from gantry.model.increment_orders import ExportPrune, ExportReplace


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
    await exports.do(ExportRemove(instance=NAME, before=1002.5, chain=True))
    assert await points(exports) == [1, 2, 3]
    # Nor does anything by the way.
    await exports.do(ExportRemove(instance=NAME, before=1003.5), ExportRemove(instance=NAME))
    assert await points(exports) == [1, 2, 3]
    await exports.do(ExportRemove(instance=NAME, before=1003.5, chain=True))
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
    assert await read(exports) == (3, config(3), "mark3")
    with pytest.raises(Rejected):
        await exports.do(ExportPrune(instance=NAME, point=3))
    # The next one goes on counting.
    await exports.do(ExportBegin(instance=NAME, upon=3), finish(4))
    assert await points(exports) == [3, 4]
    assert await read(exports, 3) == (3, config(3), "mark3")


async def test_nothing_but_what_was_pruned_takes_the_place(exports: Exports) -> None:
    await add(exports, 1, 2)
    await exports.do(ExportBegin(instance=NAME, upon=2))
    await exports.do(ExportReplace(instance=NAME, point=2))
    assert await points(exports) == [1, 2]
    await exports.do(ExportBegin(instance=NAME), ExportReplace(instance=NAME, point=2))
    assert await points(exports) == [1, 2]
