"""Scripts that are switched off, in real directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import PRE, Hooks

from gantry.agent.bundle_hooks import HookBundles
from gantry.hooks.disabled import FILE, PREFIX
from gantry.hooks.lint import check
from gantry.host import hook_switches, inventory
from gantry.model.bundles import BundleFile, digest, entries
from gantry.model.bundles import check as check_bundle
from gantry.model.hook_switch import Switched
from gantry.model.orders import ScriptStatus


def off(script: str, since: float = 1.0) -> Switched:
    return Switched(script=f"{PRE}/{script}", enabled=False, since=since, by="root")


async def test_only_the_named_script_is_skipped(hooks: Hooks) -> None:
    for name in ("10-a", "20-b"):
        hooks.script(name, f"echo {name}")
    hook_switches.write(hooks.base, [off("10-a")])
    first, second = await hooks.run()
    assert (first.status, first.problem.startswith(PREFIX)) == (ScriptStatus.SKIPPED, True)
    assert (second.status, second.output) == (ScriptStatus.SUCCEEDED, "20-b\n")


async def test_a_policy_does_not_switch_it_on(hooks: Hooks) -> None:
    hooks.script("10-a", "exit 1")
    (hooks.base / "hooks.toml").write_text(f'[script."{PRE}/10-a"]\nenabled = true\n')
    (hooks.base / "hooks.toml").chmod(0o644)
    hook_switches.write(hooks.base, [off("10-a")])
    assert (await hooks.only()).status is ScriptStatus.SKIPPED


@pytest.mark.parametrize("spoil", ["content", "mode", "directory"])
async def test_where_the_file_cannot_be_followed_all_scripts_run_and_lint_says_so(
    hooks: Hooks, spoil: str
) -> None:
    hooks.script("10-a", "exit 0")
    hook_switches.write(hooks.base, [off("10-a")])
    path = hooks.base / FILE
    if spoil == "content":
        path.write_text("{")
    elif spoil == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
        path.mkdir()
    assert (await hooks.only()).status is ScriptStatus.SUCCEEDED
    [found] = [one for one in check(inventory.read(hooks.base, 2), 2) if one.path == FILE]
    assert found.level == "error"
    assert "all scripts run" in found.hint


async def test_lint_shows_what_is_off_and_what_is_not_even_there(hooks: Hooks) -> None:
    hooks.script("10-a", "exit 0")
    hook_switches.write(hooks.base, [off("10-a"), off("99-gone")])
    found = {one.path: one.message for one in check(inventory.read(hooks.base, 2), 2)}
    assert found[f"{PRE}/10-a"].startswith(f"it does not run: {PREFIX}")
    assert found[f"{PRE}/99-gone"] == "it is disabled, and not there"


def test_words_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    hook_switches.write(tmp_path / "hooks", [off("10-a")])
    hook_switches.write(tmp_path / "hooks", [off("20-b", 2.0)])
    assert set(hook_switches.read(tmp_path / "hooks")) == {f"{PRE}/10-a", f"{PRE}/20-b"}
    assert os.listdir(tmp_path / "hooks") == [FILE]  # noqa: PTH208


async def test_a_push_does_not_bring_a_script_back(hooks: Hooks) -> None:
    def install(text: str) -> None:
        content = f"#!/bin/sh\n{text}\n".encode()
        files = check_bundle([BundleFile(path=f"{PRE}/10-a", mode=0o755, content=content)])
        HookBundles(hooks.base).install(digest(entries(files)), files, replace=False)

    install("exit 1")
    assert (await hooks.only()).status is ScriptStatus.FAILED
    hook_switches.write(hooks.base, [off("10-a")])
    assert (await hooks.only()).status is ScriptStatus.SKIPPED
    install("exit 2")
    assert (await hooks.only()).status is ScriptStatus.SKIPPED
    HookBundles(hooks.base).restore("", "")
    install("exit 3")
    assert (await hooks.only()).status is ScriptStatus.SKIPPED
