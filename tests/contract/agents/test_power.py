"""Machines whose power is switched: the same on fake and real agents."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import envelope
from tests.support.agent_process import new_uuid

from gantry.model.errors import OperationFailed, Rejected
from gantry.model.power import Health, PowerCommand, PowerRun, PowerSaid

PROGRAM = "/usr/local/sbin/oob"


async def say(harness: Harness, command: PowerCommand, **changes: Any) -> PowerSaid:
    fields: dict[str, Any] = {
        "program": PROGRAM,
        "command": command,
        "node": new_uuid(),
        "machine": "node2.example.com",
        "run": new_uuid(),
        "timeout": 10.0,
        **changes,
    }
    order = PowerRun(**fields)
    return await harness.agents.order(harness.address, envelope(f"power/{order.run}"), order)


async def test_power_goes_and_comes(harness: Harness) -> None:
    harness.add_oob_program(PROGRAM)
    assert (await say(harness, PowerCommand.STATUS)).powered is True
    assert (await say(harness, PowerCommand.OFF)).powered is False
    assert (await say(harness, PowerCommand.STATUS)).powered is False
    other = await say(harness, PowerCommand.STATUS, machine="node3.example.com")
    assert other.powered is True
    assert (await say(harness, PowerCommand.ON)).powered is True
    assert (await say(harness, PowerCommand.CYCLE)) == PowerSaid()


async def test_health_is_item_by_item(harness: Harness) -> None:
    harness.add_oob_program(PROGRAM)
    said = await say(harness, PowerCommand.HEALTH)
    assert said.health == (("fan", Health.OK), ("psu", Health.WARNING))
    assert said.powered is None


async def test_without_the_program_nothing_is_said(harness: Harness) -> None:
    with pytest.raises(OperationFailed, match=PROGRAM):
        await say(harness, PowerCommand.STATUS)


async def test_what_is_no_path_or_no_name_is_refused(harness: Harness) -> None:
    harness.add_oob_program(PROGRAM)
    for wrong in ({"program": "/usr/../bin/sh"}, {"program": "oob"}, {"machine": "-x; y"}):
        with pytest.raises(Rejected):
            await say(harness, PowerCommand.STATUS, **wrong)
