"""Who uses an instance's disks on this node, so that nobody else does at the same time.

A guest that starts while a script, or a mount that a script left, still writes to its disks
would have them destroyed. Nothing is changed here but by ``release``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import leftovers
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec


@contextmanager
def by_script(parts: Parts, uuid: Uuid, name: str, script: str) -> Iterator[None]:
    """A script of the instance's OS works on its disks; Rejected where another one, or the
    guest itself, does.
    """
    no_script(parts, uuid, name)
    no_guest(parts, uuid, name)
    parts.scripts[uuid] = script
    try:
        yield
    finally:
        parts.scripts.pop(uuid, None)


@asynccontextmanager
async def written(parts: Parts, disks: Sequence[DiskSpec]) -> AsyncIterator[None]:
    """Somebody here writes to these disks: replicas of mirrored ones are opened, and closed.

    They are closed also where it fails, since nobody writes any more then. Rejected where a
    replica must not be used, or is served to another node.
    """
    for disk in disks:
        if parts.active.holds(disk.uuid):
            raise Rejected(
                f"disk {disk.index} is active on {parts.node}: it is mirrored from there",
                "deactivate it first",
                reason=Reason.STATE,
                node=parts.node,
            )
        served = parts.replicas.served(disk.uuid)
        if served is not None:
            raise Rejected(
                f"the replica of disk {disk.index} on {parts.node} is served to "
                f"{served.peer.name}, which writes to it",
                "it must be closed first",
                reason=Reason.STATE,
                node=parts.node,
            )
    await parts.replicas.storage.open(disks)
    try:
        yield
    finally:
        await asyncio.shield(parts.replicas.storage.closed(disks))


def no_script(parts: Parts, uuid: Uuid, name: str) -> None:
    """No script of the instance's OS runs here, or Rejected."""
    if uuid in parts.scripts:
        raise Rejected(
            f"the {parts.scripts[uuid]} script of {name} still runs on node {parts.node}",
            "wait for its end, or end its process there; its log is in /var/log/ganeti/os",
            reason=Reason.STATE,
            node=parts.node,
            object_name=name,
        )


def no_guest(parts: Parts, uuid: Uuid, name: str) -> None:
    """The instance's guest does not run here, or Rejected: whatever its master takes it for."""
    up = (one for driver in parts.hypervisors.values() for one in driver.guests() if one.up)
    if any(one.uuid == uuid for one in up):
        raise Rejected(
            f"the guest of {name} runs on node {parts.node}: no script may work on its disks",
            f"gnt-instance stop {name}, and try again",
            reason=Reason.STATE,
            node=parts.node,
            object_name=name,
        )


async def unattached(parts: Parts, disks: Sequence[DiskSpec], name: str) -> None:
    """None of these disks is behind a loop device or mounted here, or Rejected."""
    if not disks:
        return
    paths = [parts.storage(disk).real_path(disk) for disk in disks]
    found = await asyncio.to_thread(leftovers.attached, paths)
    if found:
        raise Rejected(
            f"disks of {name} are in use on node {parts.node}: {'; '.join(found)}",
            "a script that was interrupted may have left it, or somebody looks at the disk: "
            "umount it and losetup -d the device there",
            reason=Reason.STATE,
            node=parts.node,
            object_name=name,
        )


async def release(parts: Parts, disk: DiskSpec, task: Task) -> None:
    """Unmount and detach a disk that is to be removed; what cannot be is said."""
    path = parts.storage(disk).real_path(disk)
    cleared = await asyncio.to_thread(leftovers.release, path)
    for what in cleared.gone:
        task.say(f"{what} was still there: cleared away")
    for what in cleared.stuck:
        task.say(f"{what} stays")
