"""What the node of a next master is asked and given."""

from __future__ import annotations

import hashlib

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import envelope

from gantry.model.errors import GantryError, OperationFailed, Rejected
from gantry.model.orders import (
    Delay,
    MasterReady,
    ReadMaster,
    StateComplete,
    StateFile,
    StatePiece,
)

STATE = b"state" * 1000


async def send(harness: Harness, copy: str, data: bytes = STATE) -> None:
    half = len(data) // 2
    for number, (offset, part) in enumerate(((0, data[:half]), (half, data[half:]))):
        order = StatePiece(copy=copy, file="state", offset=offset, data=part)
        await harness.agents.order(harness.address, envelope(f"{copy}/{number}"), order)


def complete(copy: str, *, take_over: bool = False) -> StateComplete:
    digest = hashlib.sha256(STATE).hexdigest()
    file = StateFile(file="state", size=len(STATE), sha256=digest)
    return StateComplete(copy=copy, files=(file,), taken=1e9, revision=7, take_over=take_over)


async def test_an_agent_says_who_was_master_and_how_far_its_jobs_were(harness: Harness) -> None:
    seen = await harness.agents.ask(harness.address, ReadMaster(), 5.0)
    assert (seen.epoch, seen.node, seen.job) == (0, None, 0)
    await harness.agents.announce(harness.address, 3)
    await harness.agents.order(
        harness.address, envelope("j/a", epoch=3, job=12), Delay(duration=0.0)
    )
    seen = await harness.agents.ask(harness.address, ReadMaster(), 5.0)
    assert (seen.epoch, seen.node, seen.job) == (3, harness.master, 12)


async def test_a_copy_comes_in_pieces_and_is_kept(harness: Harness) -> None:
    for copy in ("1", "2", "3"):
        await send(harness, copy)
        await harness.agents.order(harness.address, envelope(f"{copy}/end"), complete(copy))
    assert harness.state_copies() == [STATE, STATE]


async def test_a_copy_that_is_not_what_was_sent_is_refused(harness: Harness) -> None:
    await send(harness, "1", STATE[:-1] + b"!")
    with pytest.raises(OperationFailed):
        await harness.agents.order(harness.address, envelope("1/end"), complete("1"))
    assert harness.state_copies() == []


async def test_a_node_without_a_waiting_master_takes_nothing_over(harness: Harness) -> None:
    harness.let_master_wait(False)
    await send(harness, "1")
    with pytest.raises(Rejected):
        await harness.agents.order(
            harness.address, envelope("1/end"), complete("1", take_over=True)
        )
    with pytest.raises(Rejected):
        await harness.agents.order(harness.address, envelope("j/ready"), MasterReady())
    assert harness.state() is None


async def test_a_state_is_taken_over_once_and_the_waiting_master_is_woken(
    harness: Harness,
) -> None:
    harness.let_master_wait(True)
    await send(harness, "1")
    order = complete("1", take_over=True)
    await harness.agents.order(harness.address, envelope("1/end"), order)
    assert harness.state() == STATE
    assert harness.state_copies() == []
    # Whoever lost the answer asks again; the state that is in use now stays as it is.
    harness.let_master_wait(False)
    await harness.agents.order(harness.address, envelope("1/again"), order)
    assert harness.state() == STATE


async def test_a_history_alone_becomes_the_nodes(harness: Harness) -> None:
    harness.let_master_wait(True)
    for copy in ("1", "2"):
        order = StatePiece(copy=copy, file="history", offset=0, data=STATE)
        await harness.agents.order(harness.address, envelope(f"{copy}/piece"), order)
        whole = StateFile(file="history", size=len(STATE), sha256=hashlib.sha256(STATE).hexdigest())
        end = StateComplete(copy=copy, files=(whole,), taken=1e9, revision=0)
        await harness.agents.order(harness.address, envelope(f"{copy}/end"), end)
    assert harness.history() == STATE
    assert (harness.state(), harness.state_copies()) == (None, [])


async def test_a_name_of_a_copy_is_no_path(harness: Harness) -> None:
    for copy, file in (("../x", "state"), ("x", "../../etc/passwd"), ("", "state")):
        with pytest.raises(GantryError):
            await harness.agents.order(
                harness.address,
                envelope(f"j/{copy}{file}"),
                StatePiece(copy=copy, file=file, offset=0, data=b"x"),
            )
    assert harness.state_copies() == []
