"""A site's program that switches power: what of it is believed, and what is ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.agents.harness import RealHarness
from tests.contract.agents.requests import envelope
from tests.support.agent_process import new_uuid
from tests.support.cluster import alive
from tests.support.oob import write_oob_program

from gantry.model.errors import Interrupted, OperationFailed
from gantry.model.orders import Inspect
from gantry.model.power import PowerCommand, PowerRun, PowerSaid

PROGRAM = "/usr/local/sbin/oob"


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RealHarness]:
    made = RealHarness(tmp_path)
    await made.open()
    yield made
    await made.close()


def program(harness: RealHarness, text: str) -> Path:
    path = harness.root / PROGRAM.lstrip("/")
    write_oob_program(path, "#!/bin/sh\n" + text)
    return path


def order(command: PowerCommand, timeout: float = 10.0) -> PowerRun:
    return PowerRun(
        program=PROGRAM,
        command=command,
        node=new_uuid(),
        machine="node2.example.com",
        run=new_uuid(),
        timeout=timeout,
    )


async def say(harness: RealHarness, command: PowerCommand, timeout: float = 10.0) -> PowerSaid:
    one = order(command, timeout)
    limits: Any = envelope(f"power/{one.run}", timeout=60.0)
    return await harness.agents.order(harness.address, limits, one)


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "on",
        "true",
        '{"powered": "no"}',
        '{"powered": 0}',
        "{}",
        '{"powered": false',
        '[["fan", "PERFECT"]]',
    ],
)
async def test_what_is_no_plain_answer_is_none(harness: RealHarness, printed: str) -> None:
    program(harness, f"printf '%s' '{printed}'\n")
    with pytest.raises(OperationFailed, match="printed no answer"):
        await say(harness, PowerCommand.STATUS)
    with pytest.raises(OperationFailed):
        await say(harness, PowerCommand.HEALTH)


async def test_an_answer_of_a_program_that_fails_does_not_count(harness: RealHarness) -> None:
    program(harness, "echo '{\"powered\": false}'; echo no route to the BMC >&2; exit 1\n")
    with pytest.raises(OperationFailed, match="no route to the BMC"):
        await say(harness, PowerCommand.STATUS)


async def test_off_is_off_only_when_the_status_says_so(harness: RealHarness) -> None:
    program(harness, "[ $1 = power-off ] || echo '{\"powered\": true}'\n")
    with pytest.raises(OperationFailed, match="power-status still says on"):
        await say(harness, PowerCommand.OFF, timeout=1.0)


async def test_a_controller_that_needs_a_moment_is_waited_for(harness: RealHarness) -> None:
    program(
        harness,
        "seen=${0%/*}/seen\n[ $1 = power-off ] && exit 0\n"
        "if [ -e $seen ]; then echo '{\"powered\": false}'; else echo '{\"powered\": true}'; fi\n"
        ": > $seen\n",
    )
    assert (await say(harness, PowerCommand.OFF)).powered is False


async def test_a_program_that_others_could_change_is_not_run(harness: RealHarness) -> None:
    path = program(harness, ": > ${0%/*}/ran\n")
    ran = path.with_name("ran")
    for change, back, word in ((0o775, 0o755, "chmod go-w"), (0o644, 0o755, "not executable")):
        path.chmod(change)
        with pytest.raises(OperationFailed, match=word):
            await say(harness, PowerCommand.CYCLE)
        path.chmod(back)
    path.parent.chmod(0o777)
    with pytest.raises(OperationFailed, match="chmod go-w"):
        await say(harness, PowerCommand.CYCLE)
    said = await harness.agents.ask(harness.address, Inspect(programs=(PROGRAM,)), 10.0)
    assert [code for code, _, _ in said.problems] == ["ENODEOOBPATH"]
    path.parent.chmod(0o755)
    assert not ran.exists()
    await say(harness, PowerCommand.CYCLE)
    assert ran.exists()
    said = await harness.agents.ask(harness.address, Inspect(programs=(PROGRAM,)), 10.0)
    assert not said.problems


async def test_it_gets_no_more_than_it_needs(harness: RealHarness) -> None:
    path = program(harness, "env > ${0%/*}/env; cat >> ${0%/*}/env; echo $# $1 $2 >> ${0%/*}/env\n")
    await say(harness, PowerCommand.CYCLE)
    *variables, arguments = path.with_name("env").read_text().splitlines()
    assert arguments == "2 power-cycle node2.example.com"
    names = {one.partition("=")[0] for one in variables} - {"PWD", "_", "SHLVL", "OLDPWD"}
    assert names == {"PATH", "LC_ALL", "GANTRY_ROOT", "GANTRY_POWER"}


async def test_one_that_hangs_is_ended_with_its_children(harness: RealHarness) -> None:
    path = program(harness, "sleep 600 & echo $! > ${0%/*}/child; sleep 600\n")
    with pytest.raises(OperationFailed, match="took longer than 1 s"):
        await say(harness, PowerCommand.OFF, timeout=1.0)
    child = path.with_name("child").read_text().strip()
    assert not alive(int(child))


async def test_one_whose_agent_dies_is_ended_and_reported(harness: RealHarness) -> None:
    path = program(
        harness, "echo $$ > ${0%/*}/pid.new; mv ${0%/*}/pid.new ${0%/*}/pid; sleep 600\n"
    )
    pid, one = path.with_name("pid"), order(PowerCommand.CYCLE, 60.0)
    envelope_ = envelope(f"power/{one.run}", timeout=100.0)
    under_way = asyncio.create_task(harness.agents.order(harness.address, envelope_, one))
    async with asyncio.timeout(100):
        while not pid.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
    await harness.process.kill()
    await asyncio.gather(under_way, return_exceptions=True)
    await harness.process.start()
    assert not alive(int(pid.read_text()))
    again = envelope(f"power/{one.run}", timeout=100.0)
    with pytest.raises(Interrupted):
        await harness.agents.order(harness.address, again, one)
