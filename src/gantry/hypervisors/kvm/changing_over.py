"""From a copy, which may fail, to a mirror, which holds the guest's writes.

While a replica is copied its connections give up after a moment, so that QEMU never waits long
for one that nobody counts on. When all of it is there, a mirror with endless patience is begun on
a layer beside that of the copy, and the device is moved to it: QEMU does its writes under way
first, so every write was either the copy's or is the mirror's. Then the copy's job, which nobody
writes through any more, comes to its end, and only where it has done so in order is the replica
equal. QEMU never has to wait for the device's writes to the patient connection in all of that.
"""

from __future__ import annotations

from typing import Any

from gantry.hypervisors.kvm import block_jobs, layers
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model.errors import OperationFailed
from gantry.model.names import Uuid
from gantry.model.timeouts import URGENT


async def follow(
    monitor: Monitor, index: int, node: Uuid, *, full: bool, speed: int, device: bool
) -> None:
    """From now on every write goes to the replica as well, over the connection ``follow``.

    ``full``: and all that is there is copied, at ``speed`` bytes a second (0: at any). How it
    ends stays to be seen.
    """
    number = await layers.free(monitor, index, device=device)
    # QEMU forgets a job that has ended only when it is told to.
    more: dict[str, Any] = {"auto-dismiss": False}
    if full:
        more |= {"sync": "full", "speed": speed}
    target = block_jobs.remote_name(index, node, "follow")
    await block_jobs.start(
        monitor, block_jobs.follow_name(index, node), index, number, target, **more
    )


async def change_over(monitor: Monitor, index: int, node: Uuid, *, device: bool) -> None:
    """The replica, of which all is there, is mirrored over the connection ``remote``.

    OperationFailed: it is not; its jobs are still to be ended.
    """
    there = await layers.found(monitor, index)
    old, new = there.top, there.top + 1
    if there.free:
        raise OperationFailed("the layer of the copy is not where it was")
    await layers.add(monitor, index, new, there.below(old))
    await block_jobs.mirror(monitor, index, node, number=new)
    if device:
        await layers.move_device(monitor, index, layers.filter_(index, new))
    await _end(monitor, block_jobs.follow_name(index, node))
    commands = [
        layers.removing(index, old),
        *block_jobs.disconnecting(block_jobs.remote_name(index, node, "follow")),
    ]
    await monitor.execute_all(commands, URGENT)


async def _end(monitor: Monitor, job: str) -> None:
    """It has sent everything, or OperationFailed."""
    found = (await block_jobs.jobs(monitor)).get(job)
    ready = found is not None and found.ready and not found.ended
    outcome = await block_jobs.concluded(monitor, job) if ready else found
    if not ready or outcome is None or outcome.error:
        why = outcome.error if outcome is not None else "its job does not end"
        raise OperationFailed(f"what it lacks could not be copied: {why or 'its job is gone'}")
