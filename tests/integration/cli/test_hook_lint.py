"""``gnt-hook lint``: of a directory, and of all nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli.conftest import Commands
from tests.integration.cli.hook_nodes import HookNodes


@pytest.fixture
def nodes(gnt: Commands, tmp_path: Path) -> HookNodes:
    return HookNodes(tmp_path / "nodes", gnt.services)


async def test_errors_end_with_status_1_and_warnings_with_0(
    gnt: Commands, nodes: HookNodes
) -> None:
    nodes.script("node1", "instance-add-pre.d/10-a", mode=0o644)
    base = str(nodes.base("node1"))
    done = await gnt("gnt-hook lint", base)
    assert done.status == 0
    assert done.out.splitlines()[0] == (
        "warning: instance-add-pre.d/10-a: it does not run: it is not executable"
    )
    assert done.out.splitlines()[-1] == "0 errors, 1 warning"
    assert (await gnt("gnt-hook lint --strict", base)).status == 1
    nodes.script("node1", "instance-add-pre.d/20-b.sh")
    done = await gnt("gnt-hook lint --json", base)
    assert done.status == 1
    assert [one["level"] for one in done.json["findings"]] == ["warning", "error"]


async def test_a_name_does_not_move_the_cursor(gnt: Commands, nodes: HookNodes) -> None:
    nodes.script("node1", "instance-add-pre.d/\x1b[31m\nred")
    done = await gnt("gnt-hook lint", str(nodes.base("node1")))
    assert "\x1b" not in done.out
    assert "instance-add-pre.d/\\x1b[31m\\x0ared: it never runs" in done.out


async def test_the_version_of_a_directory_can_be_said(gnt: Commands, nodes: HookNodes) -> None:
    text = '#!/bin/sh\n[ "$GANETI_HOOKS_VERSION" = 2 ]\n'
    nodes.script("node1", "instance-add-pre.d/10-a", text)
    base = str(nodes.base("node1"))
    assert "runs in version 1" in (await gnt("gnt-hook lint", base)).out
    done = await gnt("gnt-hook lint --hooks-version 2", base)
    assert done.out == "nothing to complain of\n"


async def test_all_nodes_are_looked_at_and_compared(gnt: Commands, nodes: HookNodes) -> None:
    for name in nodes.roots:
        nodes.script(name, "instance-add-pre.d/10-a")
    nodes.script("node2", "instance-add-pre.d/20-b.sh")
    nodes.script("node3", "instance-add-pre.d/10-a", "#!/bin/sh\nexit 1\n")
    done = await gnt("gnt-hook lint")
    assert done.status == 1
    assert "error: node2.example.com instance-add-pre.d/20-b.sh: it never runs" in done.out
    assert (
        "warning: instance-add-pre.d/10-a: on node3.example.com it has another content" in done.out
    )
    assert done.out.endswith("1 error, 1 warning on 3 nodes\n")
    done = await gnt("gnt-hook lint --node node1")
    assert (done.status, done.out) == (0, "nothing to complain of on 1 node\n")


async def test_a_node_that_could_not_be_looked_at_is_no_clean_bill(
    gnt: Commands, nodes: HookNodes
) -> None:
    nodes.away.add("node3")
    done = await gnt("gnt-hook lint")
    assert done.status == 1
    assert "node3.example.com was not looked at" in done.err


async def test_what_makes_no_sense_is_refused(gnt: Commands, nodes: HookNodes) -> None:
    done = await gnt("gnt-hook lint /no/such/directory")
    assert done.status == 2
    assert "/no/such/directory is no directory" in done.err
    done = await gnt("gnt-hook lint --node node1", str(nodes.base("node1")))
    assert done.status == 2
