"""Levels and kinds of OS parameters, and which nodes are asked about them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.world import NOOP
from tests.unit.operations.scene import (
    ADD,
    FILE,
    NODE1,
    NODE2,
    NODE3,
    Given,
    check,
    facts,
    live,
    snapshot,
    web,
)
from tests.unit.operations.test_instance_reinstall import Asked

from gantry.model import timeouts
from gantry.model.entities import HypervisorName
from gantry.model.errors import Rejected
from gantry.model.jobs import JobStatus
from gantry.model.live import NodeLive
from gantry.model.orders import OsCreate, OsRename, OsVerify
from gantry.model.parameters import hypervisor_parameters, os_parameters
from gantry.operations import registry
from gantry.operations.steps import specs

LEVELS = {
    "deb": {"a": "1", "b": "1", "c": "1"},
    "deb+x": {"b": "2", "c": "2"},
    "deb+y": {"a": "9"},
}
DEB = msgspec.structs.replace(NOOP, name="deb")
EVERYWHERE = {node: live(facts((NOOP, DEB))) for node in (NODE1, NODE2, NODE3)}
MODIFY: dict[str, Any] = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web2"}
CLUSTER: dict[str, Any] = {"OP_ID": "OP_CLUSTER_SET_PARAMS"}


async def examined(
    cluster: Any, op: dict[str, Any], secrets: dict[str, str] | None = None
) -> list[Any]:
    """The questions that an operation asks."""
    operation, asked = registry.load(op), Asked(secrets)
    await operation.examine(operation.check(cluster, Given()), cluster, asked)
    return asked.questions


def test_cluster_then_variant_then_instance() -> None:
    assert os_parameters(LEVELS, "deb+x", {"c": "3"}) == {"a": "1", "b": "2", "c": "3"}
    assert os_parameters(LEVELS, "deb", {}) == {"a": "1", "b": "1", "c": "1"}


def test_scripts_get_public_and_private_ones_of_all_levels() -> None:
    cluster = snapshot(
        web(2, os="deb+x", osparams={"c": "3"}, osparams_private={"key": "own"}),
        osparams=LEVELS,
        osparams_private={"deb": {"key": "all", "other": "all"}},
    )
    run = specs.os_run(cluster, cluster.instance("web2"))
    assert run.parameters == {"a": "1", "b": "2", "c": "3"}
    assert run.private_parameters == {"key": "own", "other": "all"}


async def test_an_instance_is_made_once_its_node_has_verified_even_without_parameters() -> None:
    op = {**FILE, "pnode": "node2", "os_type": "deb+x", "force_variant": True}
    cluster = snapshot(nodes=EVERYWHERE, osparams={"deb": {"a": "1"}})
    assert await examined(cluster, op, {"password": "s"}) == [
        (
            NODE2,
            OsVerify(
                os="deb+x",
                parameters={"a": "1"},
                secret_parameters={"password": "s"},
                force_variant=True,
            ),
        )
    ]
    plain = {**FILE, "pnode": "node2", "os_type": "deb"}
    assert len(await examined(snapshot(nodes=EVERYWHERE), plain)) == 1


MIRRORED: dict[str, Any] = {
    **FILE, "disk_template": "mirror", "pnode": "node1", "snode": "node3", "os_type": "deb",
    "start": False,
}  # fmt: skip


async def test_secondary_nodes_verify_too() -> None:
    """One that cannot is found before it is needed."""
    made = check(snapshot(nodes=EVERYWHERE), MIRRORED).instance
    there = snapshot(made, nodes=EVERYWHERE)
    reinstall = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": made.name}
    change = {**MODIFY, "instance_name": made.name, "osparams": {"a": "1"}}
    for where, op in ((snapshot(nodes=EVERYWHERE), MIRRORED), (there, reinstall), (there, change)):
        questions = await examined(where, op)
        assert [node for node, question in questions if isinstance(question, OsVerify)] == [
            NODE1,
            NODE3,
        ]


@pytest.mark.parametrize("away", [NodeLive(reachable=False, problem="gone"), None])
async def test_a_secondary_node_that_is_away_keeps_nobody_from_a_change(
    away: NodeLive | None,
) -> None:
    made = check(snapshot(nodes=EVERYWHERE), MIRRORED).instance
    answers = {**EVERYWHERE, NODE3: away or EVERYWHERE[NODE3]}
    where = snapshot(made, nodes=answers, change={NODE3: {"offline": away is None}})
    change = {**MODIFY, "instance_name": made.name, "osparams": {"a": "1"}}
    assert [node for node, _ in await examined(where, change)] == [NODE1]


def test_a_secondary_node_must_have_the_definition() -> None:
    lacks = {**EVERYWHERE, NODE3: live(facts((NOOP,)))}
    with pytest.raises(Rejected, match=r"node3\.example\.com has no OS definition 'deb'"):
        check(snapshot(nodes=lacks), MIRRORED)


async def test_an_instance_is_installed_again_once_verified_even_without_parameters() -> None:
    plain = {**FILE, "os_type": "deb", "start": False}
    there = check(snapshot(nodes=EVERYWHERE), plain).instance
    op = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": there.name}
    asked = await examined(snapshot(there, nodes=EVERYWHERE), op)
    assert asked == [(there.primary_node, OsVerify(os="deb"))]


async def test_a_change_is_verified_only_where_it_is_about_parameters() -> None:
    cluster = snapshot(web(2, os="deb", osparams={"b": "2"}), osparams={"deb": {"a": "1"}})
    assert await examined(cluster, {**MODIFY, "beparams": {"vcpus": 2}}) == []
    assert await examined(cluster, {**MODIFY, "osparams": {"c": "3"}}) == [
        (NODE1, OsVerify(os="deb", parameters={"a": "1", "b": "2", "c": "3"}))
    ]


async def test_the_cluster_s_parameters_are_verified_on_the_master_where_it_has_the_os() -> None:
    op = {**CLUSTER, "osparams": {"deb+x": {"b": "2"}}}
    assert await examined(snapshot(osparams={"deb": {"a": "1"}}), op) == [
        (
            NODE1,
            OsVerify(
                os="deb+x", parameters={"a": "1", "b": "2"}, required=False, force_variant=True
            ),
        )
    ]


async def test_scripts_have_so_long() -> None:
    """As with Ganeti, which waits so long for its nodes."""
    assert (timeouts.OS_CREATE, timeouts.OS_RENAME, timeouts.OS_VERIFY) == (86400, 3600, 300)
    cluster = await FakeCluster.make([])
    for node in cluster.world.nodes.values():
        node.oses += (DEB,)
    await cluster.start()
    name = str(FILE["instance_name"])
    rename = {"OP_ID": "OP_INSTANCE_RENAME", "instance_name": name, "new_name": "www.example.com"}
    for op in ({**FILE, "os_type": "deb", "start": False}, {**rename, "name_check": False}):
        job = await cluster.run(op)
        assert job.status is JobStatus.SUCCESS, job.ops[0]
    given = {
        type(call.order): call.envelope.timeout
        for call in cluster.agents.calls
        if isinstance(call.order, (OsCreate, OsRename))
    }
    await cluster.close()
    assert given == {OsCreate: 86400, OsRename: 3600}
    operation, asked = registry.load({**FILE, "os_type": "deb"}), Asked()
    where = snapshot(nodes=EVERYWHERE)
    await operation.examine(operation.check(where, Given()), where, asked)
    assert asked.timeouts == [300]


@pytest.mark.parametrize(
    "op",
    [
        {
            **FILE,
            "os_type": "deb",
            "osparams": {"k-y": "hunter2"},
            "osparams_private": {"K_Y": "x"},
        },
        {**FILE, "os_type": "deb", "osparams": {"secret": "hunter2"}},
        {**FILE, "os_type": "deb", "osparams": {"private": "hunter2"}},
        {**MODIFY, "osparams": {"private": "hunter2"}},
        {**MODIFY, "osparams_private": {"own": "hunter2"}},
        {**CLUSTER, "osparams": {"deb+x": {"private": "hunter2"}}},
        {**CLUSTER, "osparams": {"deb": {"of-x": "hunter2"}}},
    ],
)
async def test_a_parameter_is_of_one_kind_on_all_levels(op: dict[str, Any]) -> None:
    cluster = snapshot(
        web(2, os="deb", osparams={"own": "1"}),
        nodes=EVERYWHERE,
        osparams_private={"deb": {"private": "swordfish"}, "deb+x": {"of-x": "swordfish"}},
    )
    with pytest.raises(Rejected, match="both become OSP_") as caught:
        await examined(cluster, op, {"secret": "swordfish"} if op["OP_ID"] == FILE["OP_ID"] else {})
    assert "hunter2" not in str(caught.value)
    assert "swordfish" not in str(caught.value)


def test_a_secret_is_in_no_plan() -> None:
    # It comes beside the operation, which has no field for it.
    for opcode in ("OP_INSTANCE_CREATE", "OP_INSTANCE_REINSTALL", "OP_INSTANCE_SET_PARAMS"):
        with pytest.raises(Rejected, match="osparams_secret"):
            registry.load({"OP_ID": opcode, "instance_name": "x", "osparams_secret": {"a": "b"}})


def test_private_ones_are_told_by_name_only() -> None:
    plan = check(snapshot(web(2, os="deb")), {**MODIFY, "osparams_private": {"key": "hunter2"}})
    assert plan.told == (("os_private/key", "<redacted>"),)


def test_hypervisor_parameters_by_os_and_by_variant() -> None:
    own = {"serial_speed": 1}
    cluster = snapshot(
        hvparams={"kvm": {"acpi": False, "kernel_args": "all", "serial_speed": 3}},
        os_hvp={
            "deb": {"kvm": {"kernel_args": "deb", "root_path": "/dev/x"}},
            "deb+x": {"kvm": {"root_path": "/dev/y"}},
        },
    ).cluster
    names = ("acpi", "kernel_args", "root_path", "serial_speed")
    filled = hypervisor_parameters(cluster, HypervisorName.KVM, "deb+x", own)
    assert [filled[name] for name in names] == [False, "deb", "/dev/y", 1]
    other = hypervisor_parameters(cluster, HypervisorName.KVM, "noop", own)
    assert [other[name] for name in names] == [False, "all", "/dev/vda1", 1]


def test_scripts_are_asked_to_say_more_where_the_user_wants_it() -> None:
    cluster = snapshot(nodes=EVERYWHERE)
    op = {**FILE, "os_type": "deb"}
    found = [check(cluster, {**op, "debug_level": level}).installing for level in (0, 1, 2)]
    assert [how.run.debug_level for how in found] == [0, 1, 1]


def test_no_script_is_to_run_where_nothing_is_installed() -> None:
    cluster = snapshot(nodes=EVERYWHERE)
    assert check(cluster, {**FILE, "os_type": "deb"}).installing
    assert not check(cluster, {**FILE, "os_type": "deb", "no_install": True}).installing
    assert not check(cluster, {**ADD, "os_type": "deb"}).installing  # diskless
