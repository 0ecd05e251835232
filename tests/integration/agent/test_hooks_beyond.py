"""Policy, context and scripts that must run once, through a real agent."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from tests.contract.agents.requests import envelope, hooks
from tests.integration.agent.test_crashes import add_hook, written
from tests.support.agent_process import AgentProcess

from gantry.hooks.record import ending
from gantry.model.errors import Unavailable
from gantry.model.hook_orders import HookSequence, HooksRan, ReadHooks
from gantry.model.hook_runs import ReadHookRuns
from gantry.model.orders import HookDirectory, Inspect, ScriptStatus
from gantry.rpc.client import HttpAgents

PRE = "instance-start-pre.d"


def policy(node: AgentProcess, text: str) -> None:
    path = node.root / "etc/ganeti/hooks/hooks.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)


async def test_a_wrong_policy_fails_the_phase_and_the_verification(
    node: AgentProcess, master: HttpAgents
) -> None:
    add_hook(node, "#!/bin/sh\nexit 0\n")
    policy(node, "[default]\n\ntimeout = 0\n")
    ran = await master.order(node.address, envelope("j/pre"), hooks())
    assert [one.status for one in ran.results] == [ScriptStatus.FAILED, ScriptStatus.SKIPPED]
    assert ran.results[0].problem.startswith("hooks.toml line 3: timeout is 0")
    seen = await master.ask(node.address, Inspect(), 10.0)
    [(code, item, said)] = [one for one in seen.problems if one[0] == "ENODEHOOKS"]
    assert (code, item) == ("ENODEHOOKS", "/etc/ganeti/hooks/hooks.toml")
    assert said.startswith("line 3: timeout is 0")


async def test_a_listing_says_what_the_policy_decides(
    node: AgentProcess, master: HttpAgents
) -> None:
    for name in ("10-a", "20-b", "30-c"):
        add_hook(node, "#!/bin/sh\nexit 0\n", name)
    policy(
        node,
        f"""[script."{PRE}/10-a"]\nenabled = false
[script."{PRE}/20-b"]\ntimeout = "5s"\nversion = 1\non-unreachable = "deny"\n""",
    )
    wanted = HookSequence(directories=(HookDirectory(name=PRE, version=2),), main_version=2)
    [found] = (await master.ask(node.address, ReadHooks(sequences=(wanted,)), 10.0)).sequences
    assert "switched off" in found[0].skip
    assert (found[1].timeout, found[1].version, found[1].deny_unreachable) == (5.0, 1, True)
    assert (found[2].timeout, found[2].version, found[2].skip) == (600.0, 2, "")


async def test_what_was_recorded_is_not_run_again_by_a_later_attempt_also_after_a_kill(
    node: AgentProcess, master: HttpAgents
) -> None:
    add_hook(node, '#!/bin/sh\necho "$GANTRY_ATTEMPT" >> "$GANTRY_ROOT/told"\n')
    for attempt in (1, 2):
        order = hooks(attempt=attempt, extra={"GANTRY_FAILURE": "denied"})
        ran = await master.order(node.address, envelope("j/0/hooks-fail/n"), order)
        assert [one.status for one in ran.results] == [ScriptStatus.SUCCEEDED]
    await node.kill()
    await node.start()
    await master.order(node.address, envelope("j/0/hooks-fail/n"), hooks(
        attempt=3, extra={"GANTRY_FAILURE": "denied"}))  # fmt: skip
    assert (node.root / "told").read_text() == "1\n"


async def test_what_was_interrupted_is_run_again_by_a_later_attempt(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    add_hook(node, f"#!/bin/sh\n[ $GANTRY_ATTEMPT = 2 ] && exit 0\necho $$ > {fifo}\nsleep 300\n")
    key = envelope("j/0/hooks-fail/n")
    order = asyncio.ensure_future(master.order(node.address, key, hooks()))
    await written(fifo)
    await node.kill()
    with pytest.raises(Unavailable):
        await order
    await node.start()
    ran = await master.order(node.address, key, hooks(attempt=2))
    assert [one.status for one in ran.results] == [ScriptStatus.SUCCEEDED]


async def killed_in_the_second(
    node: AgentProcess, master: HttpAgents, tmp_path: Path, directory: str
) -> HooksRan:
    """What is answered to the repeat of a phase whose first script had ended before the kill."""
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    say = '#!/bin/sh\necho "${0##*/} $GANTRY_ATTEMPT" >> "$GANTRY_ROOT/told"\n'
    for name, text in (
        ("10-first", f"{say}echo first; echo why >&2; exit 3\n"),
        ("20-second", f"{say}[ $GANTRY_ATTEMPT = 1 ] || exit 0\necho > {fifo}\nsleep 300\n"),
        ("30-third", say),
    ):
        add_hook(node, text, name)
    base = node.root / "etc/ganeti/hooks"
    (base / PRE).rename(base / directory)
    key = envelope("j/0/hooks/n")
    order = asyncio.ensure_future(master.order(node.address, key, hooks(directory)))
    await written(fifo)
    async with asyncio.timeout(100):
        while not (await master.ask(node.address, ReadHookRuns(), 10.0)).runs:  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.02)
    await node.kill()
    with pytest.raises(Unavailable):
        await order
    await node.start()
    return await master.order(node.address, key, hooks(directory, attempt=2))


async def test_a_phase_of_a_failure_that_was_interrupted_goes_on_where_it_was(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    ran = await killed_in_the_second(node, master, tmp_path, "instance-start-fail.d")
    said = (node.root / "told").read_text().splitlines()
    assert said == ["10-first 1", "20-second 1", "20-second 2", "30-third 2"]
    assert [(one.script, one.exit_status) for one in ran.results] == [
        ("10-first", 3),
        ("20-second", 0),
        ("30-third", 0),
    ]
    assert ran.results[0].output == "first\nwhy\n"
    page = await master.ask(node.address, ReadHookRuns(), 10.0)
    assert [(one.result.script, one.attempt, ending(one.result)) for one in page.runs] == [
        ("10-first", 1, "exit 3"),
        ("20-second", 1, "interrupted"),
        ("20-second", 2, "ok"),
        ("30-third", 2, "ok"),
    ]
    assert ran.kept is not None
    assert (ran.kept.before, ran.kept.last) == (2, 4), "a master asks for those that it missed"


async def test_a_pre_phase_that_was_interrupted_runs_again_from_its_beginning(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    await killed_in_the_second(node, master, tmp_path, PRE)
    said = (node.root / "told").read_text().splitlines()
    assert said == [
        *("10-first 1", "20-second 1"),
        *("10-first 2", "20-second 2", "30-third 2"),
    ]


async def test_an_agent_killed_among_short_scripts_knows_afterwards_which_ran_and_how(
    node: AgentProcess, master: HttpAgents
) -> None:
    names = [f"{number:03d}" for number in range(200)]
    for name in names:
        add_hook(node, '#!/bin/sh\necho "${0##*/}" >> "$GANTRY_ROOT/told"; exit 3\n', name)
    told = node.root / "told"
    order = asyncio.ensure_future(master.order(node.address, envelope("j/pre"), hooks()))
    async with asyncio.timeout(60.0):
        while not told.exists() or told.stat().st_size < 4 * 30:  # noqa: ASYNC110 - scripts write it
            await asyncio.sleep(0.002)
    await node.kill()
    with pytest.raises(Unavailable):
        await order
    await node.start()
    runs = (await master.ask(node.address, ReadHookRuns(), 10.0)).runs
    ended = [one.result.script for one in runs if one.result.exit_status == 3]
    others = [ending(one.result) for one in runs if one.result.exit_status != 3]
    assert [one.result.script for one in runs] == names[: len(runs)]
    ran = told.read_text().split()
    assert 30 <= len(ran) < 200
    # The last two may have been running, or just have ended.
    assert ended == ran[: len(ended)] and len(ran) - len(ended) in (0, 1, 2)
    assert others == ["interrupted"]


async def test_nothing_of_a_killed_run_is_left_after_the_next_start(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    fifo = tmp_path / "context"
    os.mkfifo(fifo)
    add_hook(node, f'#!/bin/sh\necho "$GANTRY_CONTEXT" > {fifo}\nsleep 300\n')
    order = asyncio.ensure_future(master.order(node.address, envelope("j/pre"), hooks()))
    context = Path(await written(fifo))
    await node.kill()
    with pytest.raises(Unavailable):
        await order
    assert context.exists()
    await node.start()
    assert not context.exists()


async def test_what_many_scripts_write_fits_into_one_answer(
    node: AgentProcess, master: HttpAgents
) -> None:
    for number in range(20):
        add_hook(node, "#!/bin/sh\nhead -c 3000000 /dev/zero\n", f"{number:02d}-zeros")
    ran = await master.order(node.address, envelope("j/pre", timeout=300.0), hooks())
    assert all(one.truncated and one.stdout.size == 3_000_000 for one in ran.results)
    assert len(msgspec.json.encode(ran)) < 16 * 1024 * 1024
    [kept, *_] = sorted((node.root / "var/log/gantry/hooks").glob("*/*/0019.out"))
    assert 1024 * 1024 < kept.stat().st_size < 1024 * 1024 + 100
