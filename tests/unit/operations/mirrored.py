"""An instance with a mirrored disk, as a value, and somebody to ask about its replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from tests.unit.operations.scene import NODE1, NODE2, NODE3, WEB1, web

from gantry.model.entities import Disk, DiskTemplate, Instance, Mirror, Replica, ReplicaState
from gantry.model.errors import Unavailable
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReadReplicas, ReplicaSeen, ReplicasSeen
from gantry.model.snapshot import Snapshot
from gantry.operations.base import AnyOperation

IN_SYNC, SYNCING, STALE = ReplicaState.IN_SYNC, ReplicaState.SYNCING, ReplicaState.STALE
DISK = Disk(
    uuid=Uuid("00000000-0000-4000-8000-000000000777"),
    size=128,
    template=DiskTemplate.MIRROR,
    path="/srv/ganeti/file-storage/web1.example.com/disk0",
    generation=1,
)


def mirrored(**changes: Any) -> Instance:
    """web1 on node 1, with a replica on node 2."""
    fields: dict[str, Any] = {
        "disk_template": DiskTemplate.MIRROR,
        "disks": (DISK,),
        "secondary_nodes": (NODE2,),
        **changes,
    }
    return web(1, **fields)


def mirror(two: ReplicaState | None = IN_SYNC, three: ReplicaState | None = None) -> Mirror:
    """The record of its disk: on node 1, and in these states on nodes 2 and 3."""
    states = {NODE1: IN_SYNC, NODE2: two, NODE3: three}
    return Mirror(
        uuid=DISK.uuid,
        name=DISK.uuid,
        instance=WEB1,
        replicas={
            node: Replica(number=number, state=state)
            for number, (node, state) in enumerate(states.items())
            if state is not None
        },
        next_number=3,
    )


class Asked:
    """Every node says that its replicas are clean and of generation 1; or what ``seen`` says."""

    secrets: Mapping[str, str] = {}

    def __init__(self, seen: Mapping[Uuid, ReplicaSeen | None] | None = None) -> None:
        self.seen = dict(seen or {})
        self.asked: list[Uuid] = []
        self.warnings: list[str] = []

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        """``None`` among ``seen``: it does not answer."""
        self.asked.append(node)
        assert isinstance(question, ReadReplicas)
        found = []
        for disk in question.disks:
            clean = ReplicaSeen(disk=disk.uuid, there=True, generation=1, state=IN_SYNC, clean=True)
            said = self.seen.get(node, clean)
            if said is None:
                raise Unavailable("it does not answer")
            found.append(msgspec.structs.replace(said, disk=disk.uuid))
        return ReplicasSeen(replicas=tuple(found))

    def warn(self, text: str) -> None:
        """Keep it."""
        self.warnings.append(text)


async def examined(
    operation: AnyOperation, plan: Any, cluster: Snapshot, asked: Asked | None = None
) -> Any:
    """The plan after the nodes were asked."""
    ask: Any = asked or Asked()
    return await operation.examine(plan, cluster, ask)
