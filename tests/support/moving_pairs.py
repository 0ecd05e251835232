"""Two nodes in one process, and a guest with mirrored disks that goes from one to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tests.support.agent_process import TestAuthority, new_uuid
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.agent import ends
from gantry.agent.replica_serving import Serving
from gantry.hypervisors.contract import Link, Manner
from gantry.model.identity import node_host, node_subject
from gantry.model.moving_orders import Ports
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec
from gantry.model.specs import MirrorTarget


@dataclass
class Pair:
    """web1 runs on ``here``, mirrored to ``there``."""

    here: Primary
    there: Primary
    spec: GuestSpec
    tls: dict[str, str]
    cluster: Uuid
    waits: dict[Uuid, Serving] = field(default_factory=dict)
    """What is to serve each disk on ``here``."""

    @property
    def disk(self) -> DiskSpec:
        """The first one as it is on ``here``."""
        return msgspec.structs.replace(self.spec.disks[0], targets=())

    @property
    def after(self) -> tuple[DiskSpec, ...]:
        """All as they are on ``there``."""
        return tuple(
            msgspec.structs.replace(disk, targets=(), generation=2) for disk in self.spec.disks
        )

    async def receive(self) -> Ports:
        described = await self.here.driver.describe(self.spec.uuid)
        spec = msgspec.structs.replace(described.spec, disks=self.after)
        peer = node_subject(self.here.node.name, self.here.node.uuid)
        here, there = self.here.node, self.there.node
        link = Link(directory=self.tls["node2"], host="127.0.0.1", peer=peer, node=here.uuid)
        ports = await self.there.driver.receive(spec, described.accelerator, link, ())
        for disk in self.after:
            await there.daemons.about_to_leave(disk)
            self.waits[disk.uuid] = await here.daemons.prepare(disk, there.peer, here.host)
        return ports

    def call(self, *, live: bool = True) -> tuple[Link, Manner]:
        node = self.there.node.uuid
        peer = node_host(self.cluster, node)
        link = Link(directory=self.tls["node1"], host="127.0.0.1", peer=peer)
        return link, Manner(live=live, lasts=60, node=node)

    async def send(self, ports: Ports) -> None:
        # An emulated guest is held still, as QEMU may overlook what it writes.
        link, manner = self.call(live=(await self.here.driver.facts()).accelerator == "kvm")
        await self.here.driver.send(self.spec.uuid, link, ports, (), manner, print)

    async def promote(self) -> tuple[DiskSpec, ...]:
        """What is done side by side with the resumption, up to the end."""
        here, there = self.here.node, self.there.node
        for disk in self.after:
            await (await there.daemons.leave(disk))
            await here.serve(disk, there)
        return self.succeeding

    @property
    def succeeding(self) -> tuple[DiskSpec, ...]:
        """The disks as they are on ``there``, mirrored to what waits for them."""
        return tuple(
            msgspec.structs.replace(disk, targets=(self._target(disk),)) for disk in self.after
        )

    def _target(self, disk: DiskSpec) -> MirrorTarget:
        return MirrorTarget(
            node=self.here.node.uuid,
            name=self.here.node.name,
            host=self.here.node.host,
            port=self.waits[disk.uuid].port,
            content=self.waits[disk.uuid].content,
        )


@asynccontextmanager
async def made(directory: Path, disks: int = 1) -> AsyncIterator[Pair]:
    """One whose guest runs and writes to the first of so many disks."""
    ca = TestAuthority(directory)
    here, there = (ReplicaNode(directory / name, ca, name) for name in ("node1", "node2"))
    first = disk_spec()
    specs = [first if not index else _another(first, index) for index in range(disks)]
    tls = {}
    for node in (here, there):
        for disk in specs:
            await node.create(disk)
        place = directory / f"tls-{node.name}"
        place.mkdir()
        ends.tls(node.root, place)
        tls[node.name] = str(place)
    one, other = Primary(here), Primary(there)
    await one.open()
    await other.open()
    served = []
    for disk in specs:
        served.append(msgspec.structs.replace(disk, targets=(await there.serve(disk, here),)))
    spec = msgspec.structs.replace(guest_spec(first), disks=tuple(served))
    await one.driver.start(spec)
    await one.writes(spec)
    yield Pair(one, other, spec, tls, ca.cluster)
    for primary in (one, other):
        await primary.close()
    for node in (here, there):
        for disk in specs:
            await node.close(disk)


def _another(disk: DiskSpec, index: int) -> DiskSpec:
    path = disk.path.removesuffix("0") + str(index)
    return msgspec.structs.replace(disk, uuid=new_uuid(), index=index, path=path)
