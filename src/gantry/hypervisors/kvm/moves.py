"""The part of the KVM driver by which guests go to another node, or come from there.

What happens at either end is in ``outgoing`` and ``incoming``, which are loaded with the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from gantry.hypervisors.contract import Freed, Link, Manner, Say, Whole
from gantry.hypervisors.kvm import mirrored
from gantry.hypervisors.kvm.known import Known
from gantry.hypervisors.kvm.launch import accelerator, launch, nothing_left
from gantry.model.live import GuestLive
from gantry.model.moving_orders import Described, Ports
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec


class Moves(Known):
    """See the contract."""

    async def describe(self, uuid: Uuid) -> Described:
        """What it is, with machine and CPU as they are."""
        running = self._up(uuid)
        await mirrored.movable(running)
        spec = running.record.spec
        found = await self._facts_of(str(spec.hvparams.get("kvm_path", "")))
        pinned = msgspec.structs.replace(
            spec,
            machine=spec.machine or found.machine,
            cpu_model=spec.cpu_model or found.cpu_model,
        )
        return Described(spec=pinned, accelerator=accelerator(spec, found).value)

    async def receive(self, spec: GuestSpec, kind: str, link: Link, disks: Sequence[int]) -> Ports:
        """Wait for it; see ``incoming``."""
        from gantry.hypervisors.kvm import incoming

        async with self._starting.setdefault(spec.uuid, asyncio.Lock()):
            known = self._running.get(spec.uuid)
            if known is not None:
                ports = await incoming.waits(known, self._around.node)
                if ports is not None:
                    return ports
            found = await self._facts_of(str(spec.hvparams.get("kvm_path", "")))
            incoming.able(spec, kind, found, self._around.node)
            files = self._files(spec.uuid)
            with nothing_left(files):
                running = await launch(
                    spec,
                    paused=True,
                    facts=found,
                    around=self._around,
                    files=files,
                    owner=self,
                    incoming=incoming.UNKNOWN,
                )
                try:
                    ports = await incoming.listen(
                        running, link, disks, self._around.root, self._around.mirrored
                    )
                except BaseException:
                    await asyncio.shield(running.withdraw(None))
                    raise
                self._came(running)
                return ports

    async def send(
        self,
        uuid: Uuid,
        link: Link,
        ports: Ports,
        disks: Sequence[int],
        manner: Manner,
        progress: Say,
    ) -> Whole:
        """Send it; see ``outgoing``."""
        from gantry.hypervisors.kvm import outgoing

        root = self._around.root
        return await outgoing.send(self._up(uuid), link, ports, disks, manner, progress, root)

    async def resume(
        self, uuid: Uuid, disks: Sequence[DiskSpec] = (), freed: Freed = None
    ) -> GuestLive:
        """Let what was received run."""
        from gantry.hypervisors.kvm import incoming

        running = self._running.get(uuid)
        if running is None:
            raise incoming.gone(uuid, self._files(uuid), self._around.node)
        await incoming.resume(running, self._around.root, self._around.mirrored, disks, freed)
        return running.live()

    async def take_back(self, uuid: Uuid) -> None:
        """Go on with it here."""
        from gantry.hypervisors.kvm import outgoing

        running = self._running.get(uuid)
        if running is not None:
            await outgoing.take_back(running)

    async def drop(self, uuid: Uuid) -> None:
        """End what was sent, or waits."""
        from gantry.hypervisors.kvm import outgoing

        running = self._running.get(uuid)
        if running is not None:
            await outgoing.drop(running)
