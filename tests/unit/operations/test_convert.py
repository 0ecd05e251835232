"""Files that become mirrored disks, and the other way round."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.operations.mirrored import (
    DISK,
    IN_SYNC,
    STALE,
    SYNCING,
    Asked,
    examined,
    mirror,
    mirrored,
)
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.hooks.environment import values
from gantry.hooks.table import row
from gantry.model.entities import AdminState, DiskFormat, DiskTemplate, Instance, Mirror
from gantry.model.errors import Rejected
from gantry.model.orders import DiskConvert, DiskCreate, DiskRemove
from gantry.model.replica_orders import (
    MirrorAttach,
    MirrorRelease,
    ReplicaClose,
    ReplicaMark,
    ReplicaSeen,
    ReplicaServe,
)
from gantry.model.replicas import ReplicaBecame
from gantry.operations import registry
from gantry.operations.instance.convert import InstanceConvert
from gantry.operations.instance.modify import InstanceModify
from gantry.ports.steps import Changes, Undo

OP: dict[str, Any] = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1"}
TO_MIRROR: dict[str, Any] = {**OP, "disk_template": "mirror", "remote_node": "node2"}
TO_FILE: dict[str, Any] = {**OP, "disk_template": "file"}
FILE = msgspec.structs.replace(DISK, template=DiskTemplate.FILE, generation=0)
AS_FILE = mirrored(disk_template=DiskTemplate.FILE, disks=(FILE,), secondary_nodes=())


def test_the_template_decides_which_operation_it_is() -> None:
    assert isinstance(registry.load(TO_FILE), InstanceConvert)
    assert isinstance(registry.load({**OP, "beparams": {}}), InstanceModify)
    again = registry.load(registry.dump(registry.load(TO_MIRROR)))
    assert isinstance(again, InstanceConvert)


async def test_a_file_becomes_the_primarys_replica_and_the_others_are_to_be_copied() -> None:
    plan = check(snapshot(AS_FILE), {**TO_MIRROR, "remote_nodes": ("node3",)})
    steps = Written()
    outcome = await registry.load(TO_MIRROR).run(plan, steps)
    assert [(node, type(order)) for _, node, order, _ in steps.done] == [
        (NODE2, DiskCreate),
        (NODE3, DiskCreate),
        (NODE1, ReplicaMark),
    ]
    [after, record] = outcome.put
    assert isinstance(after, Instance) and isinstance(record, Mirror)
    assert after.disk_template is after.disks[0].template is DiskTemplate.MIRROR
    assert (after.secondary_nodes, after.disks[0].generation) == ((NODE2, NODE3), 1)
    assert after.disks[0].path == FILE.path
    assert [one.state for one in record.replicas.values()] == [IN_SYNC, SYNCING, SYNCING]
    mark = steps.done[-1][2]
    assert isinstance(mark, ReplicaMark) and mark.force and mark.disk.generation == 1


async def test_a_mirrored_disk_becomes_a_file_and_the_others_go_after_the_commit() -> None:
    cluster = snapshot(mirrored(), mirror())
    operation = registry.load(TO_FILE)
    steps = Written()
    plan = await examined(operation, check(cluster, TO_FILE), cluster)
    outcome = await operation.run(plan, steps)
    assert steps.done == []
    [after] = outcome.put
    assert isinstance(after, Instance)
    assert (after.secondary_nodes, after.disks) == ((), (FILE,))
    assert [type(one) for one in outcome.delete] == [Mirror]
    assert [(undo.node, type(undo.order)) for undo in outcome.cleanup] == [
        (NODE2, ReplicaClose),
        (NODE2, DiskRemove),
    ]


async def test_a_primary_that_must_not_be_used_stays_with_its_replicas() -> None:
    cluster = snapshot(mirrored(), mirror())
    foreign = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, problem="a foreign write")
    with pytest.raises(Rejected, match="a foreign write"):
        await examined(
            registry.load(TO_FILE), check(cluster, TO_FILE), cluster, Asked({NODE1: foreign})
        )


@pytest.mark.parametrize(
    ("instance", "op", "why"),
    [
        (AS_FILE, TO_FILE, "nothing to change"),
        (AS_FILE, {**OP, "disk_template": "diskless"}, "cannot become diskless"),
        (web(1), TO_MIRROR, "cannot become mirror"),
        (AS_FILE, {**TO_MIRROR, "remote_node": "node1"}, "named twice"),
        (AS_FILE, {**OP, "disk_template": "drbd"}, "no disk template"),
        (mirrored(), {**TO_FILE, "remote_node": "node2"}, "leave -n out"),
        (mirrored(admin_state=AdminState.UP), TO_FILE, "it is to be up"),
    ],
)
def test_what_cannot_be_is_refused(instance: Instance, op: dict[str, Any], why: str) -> None:
    with pytest.raises(Rejected) as caught:
        check(snapshot(instance, mirror()) if instance.secondary_nodes else snapshot(instance), op)
    assert why in f"{caught.value.message} {caught.value.hint}"


async def test_under_a_guest_that_runs_all_is_copied_at_once() -> None:
    cluster = snapshot(AS_FILE, nodes={NODE1: live(guests=up())})
    steps = Written()
    outcome = await registry.load(TO_MIRROR).run(check(cluster, TO_MIRROR), steps)
    assert [(node, type(order), type(undo)) for _, node, order, undo in steps.done] == [
        (NODE2, DiskCreate, Undo),
        (NODE1, DiskConvert, DiskConvert),
        (NODE2, ReplicaServe, ReplicaClose),
        (NODE1, MirrorAttach, MirrorRelease),
    ]
    convert, undo = steps.done[1][2:]
    assert isinstance(convert, DiskConvert) and isinstance(undo, DiskConvert)
    templates = (convert.disk.template, undo.disk.template)
    assert templates == (DiskTemplate.MIRROR, DiskTemplate.FILE)
    attach = steps.done[3][2]
    assert isinstance(attach, MirrorAttach) and attach.target.full
    [_, record] = outcome.put
    assert isinstance(record, Mirror)
    assert [one.state for one in record.replicas.values()] == [IN_SYNC, SYNCING]


async def test_under_a_guest_that_runs_nobody_counts_on_replicas_before_they_are_let_go() -> None:
    cluster = snapshot(mirrored(), mirror(), nodes={NODE1: live(guests=up())})
    operation = registry.load(TO_FILE)
    steps = Written()
    plan = await examined(operation, check(cluster, TO_FILE), cluster)
    outcome = await operation.run(plan, steps)
    [(_, node, order, undo)] = steps.done
    assert isinstance(order, DiskConvert) and isinstance(undo, DiskConvert)
    assert (node, order.disk.template, undo.disk.template) == (
        NODE1,
        DiskTemplate.FILE,
        DiskTemplate.MIRROR,
    )
    stale = ReplicaBecame(disk=DISK.uuid, node=NODE2, state=STALE)
    assert steps.firsts == {"convert-disk/0": Changes(mirrors=(stale,))}
    assert [type(one.order) for one in outcome.cleanup] == [ReplicaClose, DiskRemove]


def test_of_qcow2_it_is_refused() -> None:
    disk = msgspec.structs.replace(FILE, format=DiskFormat.QCOW2)
    with pytest.raises(Rejected, match="qcow2"):
        check(snapshot(msgspec.structs.replace(AS_FILE, disks=(disk,))), TO_MIRROR)


def test_scripts_hear_the_new_template() -> None:
    cluster = snapshot(AS_FILE)
    subject = registry.load(TO_MIRROR).subject(check(cluster, TO_MIRROR), cluster)
    assert subject is not None
    told = values(row("OP_INSTANCE_SET_PARAMS"), subject, cluster)
    assert (told["NEW_DISK_TEMPLATE"], told["INSTANCE_DISK_TEMPLATE"]) == ("mirror", "file")
