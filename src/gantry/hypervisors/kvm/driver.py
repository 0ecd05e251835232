"""The KVM driver of a node: all its guests, by uuid.

It keeps who is up and who ended; what happens to one guest is in ``running``, ``launch`` and
``adoption``. It sees no storage and makes no network itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from gantry.hypervisors.contract import Console, Installation, Program, Say
from gantry.hypervisors.kvm import adoption, guest_agent, mirrored
from gantry.hypervisors.kvm.launch import launch, nothing_left
from gantry.hypervisors.kvm.moves import Moves
from gantry.hypervisors.kvm.running import Running
from gantry.model import names, parameters, timeouts
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import GuestLive, HypervisorFacts
from gantry.model.names import Uuid
from gantry.model.orders import ConsoleAddress, DiskSpec, GuestSpec
from gantry.model.specs import MirrorTarget

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 16
"""Guests adopted or asked at the same time."""
_LAST_WORDS: Final = 10.0
"""Seconds that guests on their way down have when the driver is closed."""


class Kvm(Moves):
    """Guests as QEMU processes; see the contract.

    ``taps`` makes the devices of bridged NICs; without it only NICs of mode user work.
    ``mirrored``: what disks of template mirror need; without it they do not work.
    """

    @property
    def name(self) -> str:
        """Its name in specifications."""
        return "kvm"

    async def facts(self) -> HypervisorFacts:
        """What it offers here; asked again only when QEMU is another one."""
        return await self._facts_of(str(parameters.KVM["kvm_path"]))

    async def open(self, changed: Callable[[GuestLive], None]) -> None:
        """Adopt what runs, decide what became of what does not."""
        self._changed = changed
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(uuid: Uuid) -> None:
            async with limit:
                logs = self._around.console_log("any").parent
                found = await adoption.adopt(uuid, self._files(uuid), logs, self)
            if isinstance(found, Running):
                if not found.gone.is_set():
                    self._running[uuid] = found
                    await mirrored.adopt(found, self._around.mirrored)
            elif found is not None:
                self._ended[uuid] = found

        if self._durable.is_dir():
            uuids = [Uuid(entry.name) for entry in self._durable.iterdir()]
            await asyncio.gather(*(one(uuid) for uuid in uuids if names.is_uuid(uuid)))
        for running in self._running.values():
            self._see_to_thaw(running)

    async def start(self, spec: GuestSpec, *, paused: bool = False) -> GuestLive:
        """Start it. One that is up stays as it is; a start that was cut off is finished."""
        if not names.is_uuid(spec.uuid):
            raise Rejected(f"{spec.uuid!r} is not a uuid")
        names.host_name(spec.name, "a guest's name")
        async with self._starting.setdefault(spec.uuid, asyncio.Lock()):
            known = self._running.get(spec.uuid)
            if known is not None:
                if known.record.incoming is not None:
                    raise _is_received(known, self._around.node)
                if await known.stays(paused=paused):
                    return known.live()
                await known.gone.wait()
            found = await self._facts_of(str(spec.hvparams.get("kvm_path", "")))
            if not found.available:
                raise Rejected(
                    f"{spec.name} cannot run on {self._around.node}: {found.why}",
                    reason=Reason.ENVIRONMENT,
                    node=self._around.node,
                    object_name=spec.name,
                )
            files = self._files(spec.uuid)
            with nothing_left(files):
                running = await launch(
                    spec,
                    paused=paused,
                    facts=found,
                    around=self._around,
                    files=files,
                    owner=self,
                )
            self._came(running)
            if running.gone.is_set():
                return self._ended[spec.uuid]
            return running.live()

    async def stop(
        self,
        uuid: Uuid,
        *,
        timeout: float,
        force: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Ask, wait, power off; ``force`` powers off at once."""
        running = self._running.get(uuid)
        if running is not None:
            say = progress or (lambda _text: None)
            await running.stop(timeout=timeout, force=force, progress=say)

    async def reset(self, uuid: Uuid) -> None:
        """Press the reset button."""
        await self._up(uuid).reset()

    async def forget(self, uuid: Uuid) -> None:
        """Drop record and console log of a guest that is not up."""
        if uuid in self._running:
            raise Rejected(
                f"{self._running[uuid].record.spec.name} is up on {self._around.node}",
                "shut it down first",
                reason=Reason.STATE,
                node=self._around.node,
            )
        ended = self._ended.pop(uuid, None)
        if ended is not None:
            self._files(uuid).remove()
            log = self._around.console_log(ended.name)
            log.unlink(missing_ok=True)
            log.with_name(log.name + ".1").unlink(missing_ok=True)

    def guests(self) -> tuple[GuestLive, ...]:
        """Every guest known, from memory."""
        return (*(each.live() for each in self._running.values()), *self._ended.values())

    async def read_guests(self) -> tuple[GuestLive, ...]:
        """Every guest, asked now."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(running: Running) -> None:
            async with limit:
                await running.refresh(adoption.ANSWER_WITHIN)

        await asyncio.gather(*(one(each) for each in tuple(self._running.values())))
        return self.guests()

    def installation(self, guest: Installation) -> AbstractAsyncContextManager[Program]:
        """QEMU without a monitor; see ``installation``."""
        from gantry.hypervisors.kvm import installation

        facts = self._facts_of(str(guest.hvparams.get("kvm_path", "")))
        return installation.program(guest, facts, self._around)

    async def console(self, uuid: Uuid) -> Console:
        """Attach to the serial console."""
        running = self._up(uuid)
        if running.serial is None:
            raise Rejected(
                f"{running.record.spec.name} has no serial console",
                "set serial_console=true and start it again",
                reason=Reason.STATE,
                node=self._around.node,
            )
        return running.serial.line.attach()

    async def console_address(self, uuid: Uuid) -> ConsoleAddress:
        """VNC's host and port where it has VNC, else the serial line and its log."""
        spec = self._up(uuid).record.spec
        address = str(spec.hvparams.get("vnc_bind_address", ""))
        if address and spec.network_port is not None:
            return ConsoleAddress(kind="vnc", host=address, port=spec.network_port)
        return ConsoleAddress(
            kind="serial",
            path=str(self._around.console_log(spec.name)),
            message=f"gnt-instance console {spec.name}",
        )

    async def resize_disk(self, uuid: Uuid, index: int, size: int) -> bool:
        """QEMU does it, and its device tells the guest."""
        from gantry.hypervisors.kvm import resizing

        return await resizing.resize(self._up(uuid), index, size)

    async def plug_disk(self, uuid: Uuid, disk: DiskSpec) -> None:
        """It comes to the guest's bus."""
        from gantry.hypervisors.kvm import plugging

        running, root = self._up(uuid), str(self._around.root)
        await plugging.plug(running, disk, root, self._around.mirrored)

    async def unplug_disk(
        self, uuid: Uuid, disk: DiskSpec, timeout: float, *, keep: bool = False
    ) -> None:
        """The guest is asked to let go of it."""
        from gantry.hypervisors.kvm import plugging

        await plugging.unplug(self._up(uuid), disk, timeout, keep=keep)

    async def convert_disk(self, uuid: Uuid, disk: DiskSpec) -> None:
        """The guest's device stays what it is."""
        from gantry.hypervisors.kvm import converting

        running, root = self._up(uuid), str(self._around.root)
        await converting.convert(running, disk, self._around.mirrored, root)

    async def open_snapshot(
        self, uuid: Uuid, overlays: Mapping[int, str], *, say: Say, mark: str | None = None
    ) -> None:
        """Keep what is in its disks now."""
        from gantry.hypervisors.kvm import snapshot

        running = self._up(uuid)
        sizes = {disk.index: disk.size for disk in running.record.spec.disks}
        wanted = {index: (path, sizes[index]) for index, path in overlays.items()}
        monitor = await running.monitor(timeouts.QMP)
        moment = guest_agent.frozen(running.files.volatile, say)
        try:
            await snapshot.begin(monitor, running.files.volatile, wanted, moment, mark)
        finally:
            self._see_to_thaw(running)

    async def close_snapshot(
        self, uuid: Uuid, overlays: Mapping[int, str], *, check: bool = False
    ) -> None:
        """Keep it no longer."""
        running = self._running.get(uuid)
        good = running is not None
        if running is not None:
            from gantry.hypervisors.kvm import snapshot

            monitor = await running.monitor(timeouts.QMP)
            good = await snapshot.intact(monitor, overlays)
            await snapshot.end(monitor, running.files.volatile, list(overlays.values()))
        for path in overlays.values():
            Path(path).unlink(missing_ok=True)
        if check and not good:
            raise OperationFailed(
                "what the guest wrote over meanwhile was not kept: it ended, or there was no "
                "space beside its disks",
                "make room, and export it again",
                reason=Reason.ENVIRONMENT,
                node=self._around.node,
            )

    async def marks(self, uuid: Uuid) -> dict[str, tuple[int, ...]]:
        """What QEMU has bitmaps of."""
        running = self._running.get(uuid)
        if running is None:
            return {}
        from gantry.hypervisors.kvm import increments

        return await increments.marks(await running.monitor(timeouts.QMP))

    async def copy_changes(
        self, uuid: Uuid, files: Mapping[int, str], *, since: str, mark: str, say: Say
    ) -> None:
        """Copy what changed, by QEMU itself."""
        from gantry.hypervisors.kvm import increments

        running = self._up(uuid)
        monitor = await running.monitor(timeouts.QMP)
        moment = guest_agent.frozen(running.files.volatile, say)
        try:
            await increments.copy(monitor, files, since, mark, say, moment)
        finally:
            self._see_to_thaw(running)

    async def end_changes(self, uuid: Uuid) -> None:
        """No job of it goes on."""
        running = self._running.get(uuid)
        if running is not None:
            from gantry.hypervisors.kvm import increments

            await increments.end(await running.monitor(timeouts.QMP))

    async def drop_marks(self, uuid: Uuid, marks: Collection[str]) -> None:
        """Remove bitmaps."""
        running = self._running.get(uuid)
        if running is not None:
            from gantry.hypervisors.kvm import increments

            await increments.drop(await running.monitor(timeouts.QMP), marks)

    def _see_to_thaw(self, running: Running) -> None:
        """It may be frozen, and nobody has heard that it is not any more."""
        place = running.files.volatile
        if (place / guest_agent.NOTE).exists():
            self.background(guest_agent.thaw_at_last(place, running.gone))

    def snapshot(self, uuid: Uuid) -> Path | None:
        """Where QEMU serves it."""
        return self._up(uuid).files.volatile

    async def attach_mirror(self, uuid: Uuid, index: int, target: MirrorTarget) -> None:
        """Mirror a disk to one more node."""
        await mirrored.attach(self._up(uuid), index, target)

    async def release_mirror(
        self, uuid: Uuid, index: int, node: Uuid, *, forget: bool = False
    ) -> None:
        """Mirror it there no longer."""
        running = self._running.get(uuid)
        if running is not None:
            await mirrored.release(running, index, node, forget=forget)

    async def close(self) -> None:
        """Let go of every guest; they go on running."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=_LAST_WORDS)
        for task in tuple(self._tasks):
            task.cancel()
        for running in tuple(self._running.values()):
            await running.let_go()
        self._running.clear()


def _is_received(running: Running, node: str) -> Rejected:
    """It is another node's still, and must not be started here."""
    name = running.record.spec.name
    return Rejected(
        f"{name} is being received on node {node} from another one",
        f"if no job is about it: gnt-node end-guest {node} {running.record.spec.uuid}",
        reason=Reason.STATE,
        node=node,
        object_name=name,
    )
