"""A hypervisor without guests: behaves fully and costs nothing; for tests and simulation.

Each guest is a small file below the node's root, so that it survives a restart of the agent
like a real one. ``etc/gantry/fake-failures.json`` in the root makes things go wrong: names of
guests (or ``*``) mapped to what is in :class:`fake_state.Behaviour`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from gantry.host import machine
from gantry.hypervisors import fake_mirrors, fake_moves
from gantry.hypervisors.console import Line
from gantry.hypervisors.contract import Console, Installation, Program, Replicas, Say
from gantry.hypervisors.fake_moves import FACTS
from gantry.hypervisors.fake_moving import Awaited
from gantry.hypervisors.fake_state import Behaviour, Kept, Moving, ended, keep, misbehave
from gantry.model import names
from gantry.model.entities import DiskTemplate
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import GuestLive, GuestState, HypervisorFacts, MirrorLive
from gantry.model.names import Uuid
from gantry.model.orders import ConsoleAddress, DiskSpec, GuestSpec
from gantry.model.specs import MirrorTarget

_log = logging.getLogger(__name__)


class Fake(fake_moves.Moves):
    """The fake driver of a node; see the contract."""

    def __init__(self, root: Path, replicas: Replicas | None = None) -> None:
        self._root = root
        self._replicas = replicas
        self._directory = root / "var/lib/gantry/fake-guests"
        self._failures = root / "etc/gantry/fake-failures.json"
        self._read_at = 0
        self._behaviours: dict[str, Behaviour] = {}
        self._boot_id = machine.boot_id()
        self._changed: Callable[[GuestLive], None] = lambda _guest: None
        self._guests: dict[Uuid, Kept] = {}
        self._lines: dict[Uuid, Line] = {}
        self._deaths: dict[Uuid, asyncio.TimerHandle] = {}
        self._gone: dict[Uuid, asyncio.Event] = {}
        self._awaited: dict[Uuid, Awaited] = {}

    @property
    def name(self) -> str:
        """Its name in specifications."""
        return "fake"

    def installation(self, guest: Installation) -> AbstractAsyncContextManager[Program]:
        """It runs nothing, and so no installation either."""
        raise Rejected(
            f"hypervisor fake runs no guest in which {guest.name} could be installed",
            "install it with hypervisor kvm",
            reason=Reason.ENVIRONMENT,
            object_name=guest.name,
        )

    async def facts(self) -> HypervisorFacts:
        """Always available, everywhere."""
        return FACTS

    async def open(self, changed: Callable[[GuestLive], None]) -> None:
        """Adopt what is in the files."""
        self._changed = changed
        if not self._directory.is_dir():
            return
        for path in self._directory.glob("*.json"):
            try:
                kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            except msgspec.DecodeError as error:
                _log.warning("the file %s of a fake guest cannot be read: %s", path, error)
                continue
            self._guests[kept.live.uuid] = kept
            if kept.live.up:
                self._adopt(kept)

    async def start(self, spec: GuestSpec, *, paused: bool = False) -> GuestLive:
        """The guest is up from now on."""
        if not names.is_uuid(spec.uuid):
            raise Rejected(f"{spec.uuid!r} is not a uuid")
        behaviour = self._behaviour(spec.name)
        await misbehave(behaviour.start, f"the fake hypervisor could not start {spec.name}")
        known = self._guests.get(spec.uuid)
        if known is not None and known.live.up:
            if known.moving in (Moving.AWAITED, Moving.RECEIVED):
                raise Rejected(f"{spec.name} is being received", reason=Reason.STATE)
            return known.live
        await self._open(spec)
        now = time.time()
        live = GuestLive(
            uuid=spec.uuid,
            name=spec.name,
            state=GuestState.PAUSED if paused else GuestState.RUNNING,
            since=now,
            memory=spec.memory,
            vcpus=spec.vcpus,
            mirrors=fake_mirrors.of(spec.disks),
        )
        dies_at = None if behaviour.die_after is None else now + behaviour.die_after
        self._up(Kept(live, self._boot_id, dies_at, spec.disks, spec=spec))
        self._lines[spec.uuid].feed(f"{spec.name} is up (fake)\r\n".encode())
        return live

    async def stop(
        self,
        uuid: Uuid,
        *,
        timeout: float,
        force: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """The guest is down afterwards; one that ignores it is after ``timeout``."""
        kept = self._guests.get(uuid)
        if kept is None or not kept.live.up:
            return
        behaviour = self._behaviour(kept.live.name)
        what = f"the fake hypervisor could not stop {kept.live.name}"
        await misbehave(behaviour.stop, what)
        if behaviour.ignores_shutdown and not force:
            await self._ignore(uuid, timeout, progress or (lambda _text: None))
        self.happen(uuid, GuestState.STOPPED)
        if self._replicas is not None and kept.moving is Moving.NO:
            await self._replicas.closed(kept.disks)

    async def _open(self, spec: GuestSpec) -> None:
        """It is about to write to its replicas here."""
        if self._replicas is not None:
            await self._replicas.open(spec.disks)

    async def _inherit(self, spec: GuestSpec) -> None:
        """What another node wrote to its replicas here is its own from now on."""
        if self._replicas is not None:
            await self._replicas.inherit(spec.disks)

    async def reset(self, uuid: Uuid) -> None:
        """Reset the running guest."""
        live = self._running(uuid)
        behaviour = self._behaviour(live.name)
        await misbehave(behaviour.reset, f"the fake hypervisor could not reset {live.name}")
        self._lines[uuid].feed(f"{live.name} is up again (fake)\r\n".encode())

    async def forget(self, uuid: Uuid) -> None:
        """Drop what is kept of a guest that is not up."""
        kept = self._guests.get(uuid)
        if kept is None:
            return
        behaviour = self._behaviour(kept.live.name)
        await misbehave(behaviour.forget, f"the fake hypervisor keeps {kept.live.name}")
        if kept.live.up:
            raise Rejected(f"{kept.live.name} is up", "shut it down first", reason=Reason.STATE)
        del self._guests[uuid]
        self._file(uuid).unlink(missing_ok=True)

    def guests(self) -> tuple[GuestLive, ...]:
        """Every guest known, from memory."""
        return tuple(kept.live for kept in self._guests.values())

    async def read_guests(self) -> tuple[GuestLive, ...]:
        """The same: there is nobody to ask."""
        return self.guests()

    async def console(self, uuid: Uuid) -> Console:
        """A console that echoes."""
        live = self._running(uuid)
        behaviour = self._behaviour(live.name)
        await misbehave(behaviour.console, f"the console of {live.name} is out of order")
        return self._lines[uuid].attach()

    async def console_address(self, uuid: Uuid) -> ConsoleAddress:
        """Where the console is."""
        name = self._running(uuid).name
        return ConsoleAddress(kind="serial", message=f"gnt-instance console {name}")

    async def resize_disk(self, uuid: Uuid, index: int, size: int) -> bool:
        """Nothing to do: a guest that does not exist has no file open."""
        self._running(uuid)
        return False

    async def plug_disk(self, uuid: Uuid, disk: DiskSpec) -> None:
        """It has it at once, and mirrors it."""
        live, disks = self._running(uuid), self._guests[uuid].disks
        if all(one.uuid != disk.uuid for one in disks):
            if self._replicas is not None:
                await self._replicas.open((disk,))
            self._has(live, (*disks, disk), *fake_mirrors.of((disk,)))

    async def unplug_disk(
        self, uuid: Uuid, disk: DiskSpec, timeout: float, *, keep: bool = False
    ) -> None:
        """It has it no more."""
        live = self._running(uuid)
        if not keep:
            left = tuple(one for one in self._guests[uuid].disks if one.uuid != disk.uuid)
            self._has(live, left)

    async def convert_disk(self, uuid: Uuid, disk: DiskSpec) -> None:
        """It is so at once."""
        live = self._running(uuid)
        disks = [disk if one.uuid == disk.uuid else one for one in self._guests[uuid].disks]
        self._has(live, disks)

    async def open_snapshot(
        self, uuid: Uuid, overlays: Mapping[int, str], *, say: Say, mark: str | None = None
    ) -> None:
        """Nothing to do: a guest that does not exist writes nothing."""
        self._running(uuid)
        if mark is not None:
            self._keep_marks(uuid, {mark: tuple(sorted(overlays))})

    async def close_snapshot(
        self, uuid: Uuid, overlays: Mapping[int, str], *, check: bool = False
    ) -> None:
        """Nothing to do."""

    async def marks(self, uuid: Uuid) -> dict[str, tuple[int, ...]]:
        """Those that it was told."""
        kept = self._guests.get(uuid)
        return dict(kept.marks) if kept is not None and kept.live.up else {}

    async def copy_changes(
        self, uuid: Uuid, files: Mapping[int, str], *, since: str, mark: str, say: Say
    ) -> None:
        """Nothing has changed: the files stay as empty as they are."""
        self._running(uuid)
        known = await self.marks(uuid)
        if not set(files) <= set(known.get(since, ())):
            raise OperationFailed("the fake hypervisor does not know since when")
        self._keep_marks(uuid, {since: known[since], mark: tuple(sorted(files))})

    async def end_changes(self, uuid: Uuid) -> None:
        """Nothing to do."""

    async def drop_marks(self, uuid: Uuid, marks: Collection[str]) -> None:
        """Forget them."""
        known = await self.marks(uuid)
        if known.keys() & set(marks):
            left = {mark: disks for mark, disks in known.items() if mark not in marks}
            self._keep_marks(uuid, left)

    def _keep_marks(self, uuid: Uuid, marks: dict[str, tuple[int, ...]]) -> None:
        self._keep(msgspec.structs.replace(self._guests[uuid], marks=marks))

    def snapshot(self, uuid: Uuid) -> Path | None:
        """The files themselves."""
        return None

    async def attach_mirror(self, uuid: Uuid, index: int, target: MirrorTarget) -> None:
        """It is ready at once."""
        live = self._running(uuid)
        self._mirrored(fake_mirrors.attached(live, self._disk(uuid, index), target.node))

    async def release_mirror(
        self, uuid: Uuid, index: int, node: Uuid, *, forget: bool = False
    ) -> None:
        """It is gone at once."""
        kept = self._guests.get(uuid)
        if kept is not None and kept.live.up:
            self._mirrored(fake_mirrors.released(kept.live, self._disk(uuid, index), node))

    def lose(self, uuid: Uuid, node: Uuid, reason: str = "it was made to be lost") -> None:
        """The replicas on that node do not answer any more; for tests."""
        self._mirrored(fake_mirrors.lost(self._running(uuid), node, reason))

    async def close(self) -> None:
        """Let go; the guests stay in their files."""
        for awaited in self._awaited.values():
            awaited.close()
        self._awaited.clear()
        for death in self._deaths.values():
            death.cancel()
        for line in self._lines.values():
            line.end()
        self._deaths.clear()
        self._lines.clear()

    def happen(self, uuid: Uuid, state: GuestState, reason: str = "") -> None:
        """The guest comes to an end, in the way that ``state`` says; for tests."""
        kept = self._guests[uuid]
        if not kept.live.up:
            return
        end = ended(kept, state, reason)
        self._keep(end)
        death = self._deaths.pop(uuid, None)
        if death is not None:
            death.cancel()
        awaited = self._awaited.pop(uuid, None)
        if awaited is not None:
            awaited.close()
        self._lines.pop(uuid).end()
        self._gone.pop(uuid).set()
        self._changed(end.live)

    def _adopt(self, kept: Kept) -> None:
        if kept.boot_id != self._boot_id:
            self._keep(ended(kept, GuestState.DIED, "the node was restarted"))
        elif kept.moving is Moving.AWAITED:
            self._keep(ended(kept, GuestState.DIED, "the agent was restarted"))
        elif kept.dies_at is not None and kept.dies_at <= time.time():
            self._keep(ended(kept, GuestState.DIED, "it was made to die"))
        else:
            self._watch(kept)

    def _up(self, kept: Kept) -> None:
        self._keep(kept)
        self._watch(kept)
        self._changed(kept.live)

    def _watch(self, kept: Kept) -> None:
        uuid = kept.live.uuid
        self._gone[uuid] = asyncio.Event()
        line = self._lines[uuid] = Line(lambda data: _echo(line, data))
        if kept.dies_at is not None:
            self._deaths[uuid] = asyncio.get_running_loop().call_later(
                max(0.0, kept.dies_at - time.time()),
                self.happen,
                uuid,
                GuestState.DIED,
                "it was made to die",
            )

    async def _ignore(self, uuid: Uuid, timeout: float, progress: Callable[[str], None]) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._gone[uuid].wait()
        except TimeoutError:
            progress(f"the guest did not shut down within {timeout:g} s: it is powered off")

    def _running(self, uuid: Uuid) -> GuestLive:
        kept = self._guests.get(uuid)
        if kept is None or not kept.live.up:
            name = kept.live.name if kept else f"guest {uuid}"
            raise Rejected(f"{name} is not running", reason=Reason.STATE)
        return kept.live

    def _disk(self, uuid: Uuid, index: int) -> Uuid:
        for disk in self._guests[uuid].disks:
            if disk.index == index:
                return disk.uuid
        name = self._guests[uuid].live.name
        raise Rejected(f"{name} has no disk {index}", reason=Reason.UNKNOWN)

    def _has(self, live: GuestLive, disks: Sequence[DiskSpec], *more: MirrorLive) -> None:
        """From now on it has these disks; what is mirrored of others is mirrored no more."""
        kept = self._guests[live.uuid]
        mirrored = {one.uuid for one in disks if one.template is DiskTemplate.MIRROR}
        mirrors = (*(one for one in live.mirrors if one.disk in mirrored), *more)
        changed = msgspec.structs.replace(live, mirrors=mirrors)
        spec = msgspec.structs.replace(kept.spec, disks=tuple(disks)) if kept.spec else None
        self._keep(msgspec.structs.replace(kept, disks=tuple(disks), spec=spec))
        self._mirrored(changed)

    def _mirrored(self, live: GuestLive) -> None:
        kept = self._guests[live.uuid]
        if live != kept.live:
            self._keep(msgspec.structs.replace(kept, live=live))
            self._changed(live)

    def _keep(self, kept: Kept) -> None:
        self._guests[kept.live.uuid] = kept
        keep(self._root, kept)

    def _file(self, uuid: Uuid) -> Path:
        return self._directory / f"{uuid}.json"

    def _behaviour(self, name: str) -> Behaviour:
        try:
            changed = self._failures.stat().st_mtime_ns
        except FileNotFoundError:
            return Behaviour()
        if changed != self._read_at:
            content = self._failures.read_bytes()
            try:
                self._behaviours = msgspec.json.decode(content, type=dict[str, Behaviour])
            except msgspec.DecodeError as error:
                raise OperationFailed(
                    f"{self._failures} is not what it should be: {error}",
                    "mend it, or remove it",
                    reason=Reason.ENVIRONMENT,
                ) from error
            self._read_at = changed
        return self._behaviours.get(name) or self._behaviours.get("*") or Behaviour()


async def _echo(line: Line, data: bytes) -> None:
    line.feed(data)
