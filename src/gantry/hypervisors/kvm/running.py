"""One guest that is up: its process, its monitor, its console, and how it comes to an end.

Every turn is recorded before it is taken, so that a later agent knows what happened. How a
guest is started or found again is in ``launch`` and ``adoption``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from gantry.host import machine
from gantry.host.daemon import Daemon
from gantry.hypervisors.kvm import broken_copies, guest_agent, held, sockets
from gantry.hypervisors.kvm.monitor import Event, Monitor
from gantry.hypervisors.kvm.partings import Partings
from gantry.hypervisors.kvm.record import Files, Phase, Record, outcome
from gantry.hypervisors.kvm.serial import Serial
from gantry.model import parameters, timeouts
from gantry.model.errors import GantryError, OperationFailed, Unavailable
from gantry.model.live import GuestLive, GuestState
from gantry.model.moving_orders import Ports
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec

if TYPE_CHECKING:
    from gantry.hypervisors.kvm.awaited import Awaited
    from gantry.hypervisors.kvm.renewing import GuestMirrors

POWER_BUTTON_AGAIN: Final = 5.0
"""Seconds between two presses: a guest that is still booting misses the first."""
QUIT_GRACE: Final = 5.0
"""Seconds in which QEMU flushes its disks and exits, before it is killed."""
_TROUBLE: Final = {
    "io-error": "paused by an error of a disk",
    "internal-error": "paused by an error inside QEMU",
    "guest-panicked": "the guest's kernel panicked",
}
_STATUS_0: Final = "it exited with status 0"
_ELSEWHERE: Final = ("inmigrate", "postmigrate", "finish-migrate")
"""QEMU's states of a guest that another node has, or may have."""

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """What a running guest tells the driver."""

    def changed(self, guest: GuestLive) -> None:
        """Its state is another one."""

    def ended(self, guest: GuestLive) -> None:
        """Its process is gone."""

    def parted(self, uuid: Uuid, device: str) -> None:
        """It has let go of a device, and nobody had asked, or waits any more."""

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        """Do this, and wait for it when the driver is closed."""


class Running:
    """A guest whose process exists. ``gone`` is set once it does not."""

    def __init__(self, record: Record, files: Files, process: Daemon, owner: Owner) -> None:
        self.record = record
        self.files = files
        self.gone = asyncio.Event()
        self.serial: Serial | None = None
        self.how = ""
        self.mirrors: GuestMirrors | None = None
        self.closed: Callable[[], Awaitable[None]] | None = None
        """To be called once QEMU has ended in order, with all that was written safe."""
        self.leaving: Callable[[Monitor], Awaitable[None]] | None = None
        """To be called before QEMU is told to end; raises nothing."""
        self.resumed = 0
        """How often it has begun, or begun again, to run."""
        self.awaited: Awaited | None = None
        self._process, self._owner = process, owner
        self._monitor: Monitor | None = None
        self._connecting = asyncio.Lock()
        self._state, self._reason = GuestState.PAUSED, ""
        self._since, self._seen = record.since, False
        self._stops, self.partings = 0, Partings()
        self.holding = asyncio.Lock()
        self._ending = False
        self._in_order = False
        """QEMU was told to end, and was not killed."""
        self._listeners: set[Event] = set()
        self._writing = asyncio.Lock()
        process.watch(self._process_ended)

    def live(self) -> GuestLive:
        """How it is, from memory."""
        spec = self.record.spec
        return GuestLive(
            uuid=spec.uuid,
            name=spec.name,
            state=self._state,
            since=self._since,
            memory=spec.memory,
            vcpus=spec.vcpus,
            pid=self._process.identity.pid,
            reason=self._reason,
            mirrors=self.mirrors.live() if self.mirrors is not None else (),
        )

    def mirrors_changed(self) -> None:
        """One of its mirrors is doing something else."""
        if not self.gone.is_set():
            self._owner.changed(self.live())
            if self.record.held:
                self._owner.background(held.go_on(self))

    async def monitor(self, timeout: float) -> Monitor:
        """The connection to its monitor, made again if it broke; Unavailable."""
        async with self._connecting:
            if self._monitor is not None and self._monitor.usable:
                return self._monitor
            if self._monitor is not None:
                await self._monitor.close()
            name = self.record.spec.name
            try:
                connection = sockets.connect(self.files.volatile, "monitor")
            except OSError as error:
                raise Unavailable(f"no way to QEMU of {name}: {error}") from error
            self._monitor = await Monitor.open(connection, name, self._told, timeout)
            return self._monitor

    async def refresh(self, timeout: float) -> GuestLive:
        """How it is, asked now; one that does not answer is up all the same, and says so."""
        status, asked = "", -1
        try:
            while asked != self.resumed:  # the answer may be older than what was heard before it
                asked, monitor = self.resumed, await self.monitor(timeout)
                status = (await monitor.execute("query-status", timeout))["status"]
        except Unavailable as error:
            if not self.gone.is_set():
                self._become(self._state, f"QEMU does not answer: {error}")
            return self.live()
        self._status(str(status))
        return self.live()

    async def resume(self, timeout: float) -> None:
        """Let its processors run."""
        monitor = await self.monitor(timeout)
        await monitor.execute("cont", timeout)
        self._become(GuestState.RUNNING)

    async def reset(self) -> None:
        """The reset button."""
        await (await self.monitor(QUIT_GRACE)).execute("system_reset")

    async def stays(self, *, paused: bool) -> bool:
        """Whether it goes on; a start that was cut off before its first instruction is ended.

        False: it is on its way down, and ``gone`` will be set.
        """
        if self._ending or self._stops or self.gone.is_set():
            return False
        if self.record.phase is Phase.STOPPING:  # the order of an agent that is no more
            await self.enter(Phase.UP)
        try:
            monitor = await self.monitor(timeouts.QMP)
            if (await monitor.execute("query-status"))["status"] != "prelaunch":
                return True
            if self.mirrors is not None and not self.mirrors.orderly:
                # The agent before did not come to mirror it: it must not run like that.
                await self.withdraw(None)
                await self._close_disks()
                return False
            if not paused:
                await self.resume(timeouts.QMP)
        except Unavailable:
            return not self.gone.is_set()
        return True

    async def enter(self, phase: Phase) -> None:
        """Record the next phase, on disk, before it begins.

        A disk that is full must not keep a guest from being ended: it is logged, and a later
        agent then judges by the phase before.
        """
        if self.record.phase is Phase.ENDED:
            return
        born = self.record.phase is Phase.STARTING and phase is Phase.UP
        since = time.time() if born else self.record.since
        self.record = msgspec.structs.replace(self.record, phase=phase, since=since)
        async with self._writing:
            writing = asyncio.ensure_future(
                asyncio.to_thread(self.files.write, self.record, durably=True)
            )
            try:
                await asyncio.shield(writing)
            except OSError as error:
                _log.error("%s: %s was not recorded: %s", self.record.spec.name, phase, error)
            except asyncio.CancelledError:
                # The thread cannot be called back: a later record must not be overtaken.
                await asyncio.wait([writing])
                raise

    async def respecify(self, spec: GuestSpec) -> None:
        """Record what it has now, where that was changed while it runs."""
        self.record = msgspec.structs.replace(self.record, spec=spec)
        await self.enter(self.record.phase)

    async def withdraw(self, before: Record | None) -> None:
        """End what did not come up; the record is again what it was ``before``."""
        self.record = msgspec.structs.replace(self.record, phase=Phase.STARTING)
        await self.quit()
        if before is not None:
            self.files.write(before, durably=False)

    async def stop(self, *, timeout: float, force: bool, progress: Callable[[str], None]) -> None:
        """Power button, patience, power-off. Cancelled before the power-off, it goes on."""
        self._stops += 1
        try:
            await self.enter(Phase.STOPPING)
            if not force:
                await self._ask(timeout, progress)
        except asyncio.CancelledError:
            if self._stops == 1 and not self.gone.is_set():
                await self.enter(Phase.UP)
            raise
        finally:
            self._stops -= 1
        await self.quit()

    async def quit(self) -> None:
        """End QEMU: by its own command, which flushes the disks; else by force."""
        self._ending, patience = True, QUIT_GRACE
        try:
            monitor = await self.monitor(QUIT_GRACE)
            if (await monitor.execute("query-status", QUIT_GRACE))["status"] in _ELSEWHERE:
                self.closed = None  # its disks are another's
            if self.leaving is not None and self.record.phase is not Phase.STARTING:
                await self.leaving(monitor)
            self._in_order = True
            if self.mirrors is not None:
                self.mirrors.ending()
            await monitor.execute("quit", QUIT_GRACE)
        except GantryError:
            patience = 1.0  # it is ending already, or it hears nothing
        if not await self._gone_within(patience):
            self._in_order = False
            self._process.kill()
            if not await self._gone_within(timeouts.URGENT):
                raise OperationFailed(
                    f"process {self._process.identity.pid} of {self.record.spec.name} does not die",
                    "it waits in the kernel, most likely for a disk; only that can free it",
                    object_name=self.record.spec.name,
                )

    async def _gone_within(self, timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self.gone.wait()
        except TimeoutError:
            return False
        return True

    async def let_go(self) -> None:
        """Know no more of it; it goes on."""
        self._process.let_go()
        if self.mirrors is not None:
            self.mirrors.close()
        await self._disconnect()

    async def _ask(self, timeout: float, progress: Callable[[str], None]) -> None:
        values = parameters.fill(parameters.KVM, self.record.spec.hvparams)
        if not values["acpi"]:
            progress("the guest has no power button (acpi=false): it is powered off")
            return
        try:
            async with asyncio.timeout(timeout):
                await self._press(progress, timeout)
        except TimeoutError:
            progress(f"the guest did not shut down within {timeout:g} s: it is powered off")
        except Unavailable as error:
            progress(f"{error}: it is powered off")

    async def _press(self, progress: Callable[[str], None], timeout: float) -> None:
        monitor = await self.monitor(timeout)
        status = (await monitor.execute("query-status", timeout))["status"]
        if self.record.incoming is not None or status in _ELSEWHERE:
            return  # it must not run here
        if status == "prelaunch":  # it never ran an instruction: nothing to shut down
            return
        if status == "paused" and not self.record.held:
            await monitor.execute("cont", timeout)
        progress(f"the guest has {timeout:g} s to shut down")
        while not self.gone.is_set():
            await (await self.monitor(timeout)).execute("system_powerdown", timeout)
            await self._gone_within(POWER_BUTTON_AGAIN)

    @contextmanager
    def listening(self, told: Event) -> Iterator[None]:
        """Call ``told`` for every event of QEMU's meanwhile."""
        self._listeners.add(told)
        try:
            yield
        finally:
            self._listeners.discard(told)

    async def note_incoming(self, ports: Ports | None) -> None:
        """Record where it waits for the guest, or that it does not any more."""
        self.record = msgspec.structs.replace(self.record, incoming=ports)
        await self.enter(self.record.phase)

    def _told(self, event: str, data: Mapping[str, Any]) -> None:
        freely = self._state is GuestState.RUNNING and not (self.record.held or self._ending)
        for listener in tuple(self._listeners):
            listener(event, data)
        if event.startswith("BLOCK_JOB_") and self.mirrors is not None:
            self.mirrors.told(event, data)
        if event == "SHUTDOWN" and data.get("guest"):
            self._owner.background(self._off())
        elif event == "STOP" and freely:
            self._owner.background(self.refresh(QUIT_GRACE))
        elif event == "RESUME":
            self.resumed += 1
            self._become(GuestState.RUNNING)
        elif event == "DEVICE_DELETED":
            device = str(data.get("device", ""))
            if not self.partings.told(device):
                self._owner.parted(self.record.spec.uuid, device)

    def _status(self, status: str) -> None:
        if status == "shutdown":
            self._owner.background(self._off())
        elif status == "running":
            self._become(GuestState.RUNNING)
        else:
            self._become(GuestState.PAUSED, _TROUBLE.get(status, ""))
        if status == "io-error":
            self._owner.background(broken_copies.relieve(self))

    def _become(self, state: GuestState, reason: str = "") -> None:
        first, self._seen = not self._seen, True
        if (state, reason) == (self._state, self._reason) or self.gone.is_set():
            return
        if state is not self._state:
            # What it is when first seen, it is since its start, as far as anybody knows.
            self._since = self.record.since if first else time.time()
        self._state, self._reason = state, reason
        self._owner.changed(self.live())

    async def _off(self) -> None:
        if self._ending:
            return
        self._ending = True
        if self.record.phase is not Phase.STOPPING:
            await self.enter(Phase.OFF)
        await self.quit()

    def _process_ended(self, how: str) -> None:
        self.how = how
        self._owner.background(self._finish())

    async def _finish(self) -> None:
        await self._disconnect()
        for name in ("monitor", "serial", guest_agent.SOCKET, guest_agent.NOTE):
            (self.files.volatile / name).unlink(missing_ok=True)
        if self.record.phase is Phase.STARTING:  # the launch tells what to think of it
            if self.mirrors is not None:
                self.mirrors.close()
            self.gone.set()
            return
        await self._close_disks()
        errors = "; ".join(filter(None, (self.how, self.files.last_errors())))
        state, reason = outcome(self.record, machine.boot_id(), errors)
        self._state, self._reason, self._since = state, reason, time.time()
        last = msgspec.structs.replace(self.live(), pid=0, memory=0)
        self.record = msgspec.structs.replace(self.record, last=last)
        await self.enter(Phase.ENDED)
        self.gone.set()
        self._owner.ended(last)

    async def _close_disks(self) -> None:
        """Its mirrors are no more; its disks are closed where it has ended in order."""
        orderly = self._in_order and self.how in ("", _STATUS_0)
        if self.mirrors is not None:
            orderly = orderly and self.mirrors.orderly
            self.mirrors.close()
        if orderly and self.closed is not None:
            await self.closed()

    async def _disconnect(self) -> None:
        if self._monitor is not None:
            await self._monitor.close()
            self._monitor = None
        if self.serial is not None:
            self.serial.close()
            self.serial = None
