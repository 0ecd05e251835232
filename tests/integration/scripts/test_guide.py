"""The scripts of the author's guide do what it says that they do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import Hooks

from gantry.model.orders import ScriptStatus

GUIDE = (Path(__file__).parents[3] / "docs" / "hooks" / "README.md").read_text()
CHECK, INVENTORY = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", GUIDE, re.DOTALL)
[BY_HAND] = re.findall(r"```\n(cd / && env -i .*?)```", GUIDE, re.DOTALL)


def told(**more: str) -> dict[str, str]:
    return {f"GANETI_INSTANCE_{name}": value for name, value in more.items()}


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ("owner:alice", ScriptStatus.SUCCEEDED),
        ("tier:1 owner:alice", ScriptStatus.SUCCEEDED),
        ("", ScriptStatus.FAILED),
        ("owner: ownerless", ScriptStatus.FAILED),
    ],
)
async def test_the_check_denies_an_instance_without_owner(
    hooks: Hooks, tags: str, status: ScriptStatus
) -> None:
    hooks.script("20-has-owner", CHECK)
    [result] = await hooks.run(extra=told(NAME="web1.example.com", TAGS=tags))
    assert result.status is status
    assert ("web1.example.com needs an owner" in result.output) is (status is ScriptStatus.FAILED)


async def test_the_check_refuses_a_version_that_it_does_not_know(hooks: Hooks) -> None:
    hooks.script("20-has-owner", CHECK)
    version = {"GANETI_HOOKS_VERSION": "3"}
    [result] = await hooks.run(extra={**told(TAGS="owner:alice"), **version})
    assert (result.exit_status, result.output) == (1, "made for hook versions 1 and 2, not 3\n")


async def test_the_inventory_is_the_same_after_a_repeat(hooks: Hooks, tmp_path: Path) -> None:
    hooks.script("50-inventory", INVENTORY)
    extra = {
        "GANTRY_ROOT": str(tmp_path),
        **told(NAME="web1.example.com", PRIMARY="node1", MEMORY="512", TAGS="owner:alice"),
    }
    for _ in range(2):
        [result] = await hooks.run(extra=extra)
        assert (result.status, result.output) == (ScriptStatus.SUCCEEDED, "")
        [file] = (tmp_path / "var/lib/inventory").iterdir()
        assert file.name == "web1.example.com"
        assert file.read_text() == "primary=node1\nmemory=512\ntags=owner:alice\n"


@pytest.mark.parametrize(("text", "status"), [(CHECK, 0), ("exit 7", 7)])
def test_a_hook_is_tried_by_hand_as_the_guide_says(hooks: Hooks, text: str, status: int) -> None:
    path = hooks.script("20-mine", text)
    done = subprocess.run(
        ["/bin/sh", "-c", BY_HAND],
        env={"HOOK": str(path), "PATH": "/usr/bin:/bin"},
        timeout=60,
        check=False,
    )
    assert done.returncode == status
