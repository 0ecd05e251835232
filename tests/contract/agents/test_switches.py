"""Scripts that are switched off and on again: the same on fake and real agents."""

from __future__ import annotations

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import envelope, hooks

from gantry.hooks.disabled import PREFIX
from gantry.model.errors import Rejected
from gantry.model.hook_files import ReadHookFiles
from gantry.model.hook_switch import HookSwitch
from gantry.model.orders import ScriptStatus

DIRECTORY = "instance-start-pre.d"
SCRIPT = f"{DIRECTORY}/10-a"


async def switch(harness: Harness, since: float, enabled: bool, *scripts: str) -> None:
    order = HookSwitch(
        scripts=scripts or (SCRIPT,), enabled=enabled, since=since, by="root", reason="it is broken"
    )
    await harness.agents.order(
        harness.address, envelope(f"switch/{since}/{len(order.scripts[0])}"), order
    )


async def status(harness: Harness, turn: int) -> tuple[ScriptStatus, str]:
    ran = await harness.agents.order(harness.address, envelope(f"run/{turn}"), hooks(DIRECTORY))
    [one] = ran.results
    return one.status, one.problem


async def test_a_script_is_skipped_with_who_and_why_until_it_is_on_again(harness: Harness) -> None:
    harness.add_hook(DIRECTORY, "10-a", 0, "")
    await switch(harness, 1000.0, False)
    found, why = await status(harness, 1)
    assert found is ScriptStatus.SKIPPED
    assert why.startswith(PREFIX)
    assert why.endswith(": it is broken")
    assert "by root" in why
    known = await harness.agents.ask(harness.address, ReadHookFiles(main_version=2), 5.0)
    assert known.disabled == (SCRIPT,)
    assert [f"{one.directory}/{one.name}" for one in known.files] == [SCRIPT]
    await switch(harness, 2000.0, True)
    assert await status(harness, 2) == (ScriptStatus.SUCCEEDED, "")


async def test_an_older_word_that_comes_late_does_not_count(harness: Harness) -> None:
    harness.add_hook(DIRECTORY, "10-a", 0, "")
    await switch(harness, 2000.0, True)
    await switch(harness, 1000.0, False)
    assert (await status(harness, 1))[0] is ScriptStatus.SUCCEEDED


async def test_what_is_no_script_is_refused(harness: Harness) -> None:
    for wrong in ("../../../etc/shadow", "10-a", "a/b/c"):
        with pytest.raises(Rejected, match="no script"):
            await switch(harness, 1000.0, False, wrong)
