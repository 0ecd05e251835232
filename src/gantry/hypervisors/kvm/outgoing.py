"""The end of a migration that sends: from the running guest to one that is held still.

QEMU does it, and goes on without us: a later agent finds what is under way and goes on with it.
Local disks go first, by mirror jobs which every write then waits for; they end while the guest
stands still for its last pages. All jobs and nodes have names of their own.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gantry.hypervisors.contract import Link, Manner, Whole
from gantry.hypervisors.kvm import mirrored_moves, mirroring, secured
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.news import News
from gantry.hypervisors.kvm.running import Running
from gantry.hypervisors.kvm.written_out import WrittenOut
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.moving_orders import Ports

_log = logging.getLogger(__name__)
_UNDER_WAY: Final = frozenset(
    ("setup", "active", "pre-switchover", "device", "wait-unplug", "cancelling")
)
_CONNECTION: Final = "outgoing"
_NO_LIMIT: Final = 1 << 40
_BRIEF: Final = 8
"""Milliseconds that the last of the memory may take, as long as there is hope for that."""
_HOPE: Final = 8
"""Passes through the memory; after as many it may take what it was given."""
_MIB: Final = 1024 * 1024


async def send(
    running: Running,
    link: Link,
    ports: Ports,
    disks: Sequence[int],
    manner: Manner,
    progress: Callable[[str], None],
    root: Path,
) -> Whole:
    """Send it; where that fails, or is cancelled, it goes on here. ``root`` is the node's."""
    outgoing = _Outgoing(running, await running.monitor(timeouts.QMP), progress, root)
    try:
        async with asyncio.timeout(manner.lasts):
            await outgoing.send(link, ports, disks, manner)
    except TimeoutError:
        await asyncio.shield(take_back(running))
        raise OperationFailed(
            f"{running.record.spec.name} was not sent within {manner.lasts:g} s: it changes its "
            "memory faster than that can be sent",
            "allow a longer pause at the end (gnt-instance modify -H migration_downtime=500) or "
            "more of the network (migration_bandwidth), or hold it still meanwhile (--non-live)",
            object_name=running.record.spec.name,
        ) from None
    except BaseException:
        await asyncio.shield(take_back(running))
        raise
    return mirrored_moves.whole(running) if manner.node else ()


async def take_back(running: Running) -> None:
    """Nothing is sent any more, and the guest runs here, unless it is gone."""
    if running.gone.is_set():
        return
    monitor = await running.monitor(timeouts.QMP)
    outgoing = _Outgoing(running, monitor, lambda _text: None)
    if await outgoing.status() in _UNDER_WAY:
        await monitor.execute("migrate_cancel")
        await outgoing.until(_ended, timeouts.URGENT)
    await mirroring.end(monitor, running)
    try:
        back = await mirrored_moves.come_back(running)
        status = await mirrored_moves.settled(monitor)
        if not back and not running.record.held and status in ("postmigrate", "paused"):
            await running.resume(timeouts.QMP)
        await running.refresh(timeouts.QMP)
    except OperationFailed as error:
        _log.error("%s cannot go on, and is ended: %s", running.record.spec.name, error)
        await running.stop(timeout=0, force=True, progress=lambda _text: None)
        return
    await secured.forget(monitor)


async def drop(running: Running) -> None:
    """End it if all of it has been sent, or it never ran here, and nothing else."""
    if running.gone.is_set():
        return
    monitor = await running.monitor(timeouts.QMP)
    if (
        running.record.incoming is not None
        or (await monitor.execute("query-status"))["status"] == "postmigrate"
    ):
        await running.stop(timeout=0, force=True, progress=lambda _text: None)


class _Outgoing:
    """One guest that is being sent."""

    def __init__(
        self,
        running: Running,
        monitor: Monitor,
        progress: Callable[[str], None],
        root: Path | None = None,
    ) -> None:
        self._running = running
        self._monitor = monitor
        self._progress = progress
        self._barriers: dict[int, str] = {}
        self._written_out = WrittenOut(running, root)
        self._sent: dict[str, Any] = {}
        """How much had been sent when it stood still."""

    async def send(self, link: Link, ports: Ports, disks: Sequence[int], manner: Manner) -> None:
        """All of it; from wherever an earlier agent left it."""
        if (await self._monitor.execute("query-status"))["status"] == "postmigrate":
            await self._running.refresh(timeouts.QMP)
            return
        if await self.status() not in _UNDER_WAY:
            await self._begin(link, ports, disks, manner)
        # Where it has been sent it stands still by now: nothing is asked that has been told.
        if await self._switch_over(disks, manner) != "completed":
            info = await self._info()
            raise self._failed(
                info.get("error-desc") or f"the other end is gone ({info['status']})"
            )
        self._say_end(self._sent or await self._info())

    async def _switch_over(self, disks: Sequence[int], manner: Manner) -> str:
        """Once it stands still, all that is not on this node alone ends; then the rest is sent.

        How it has ended.
        """
        if not disks and not manner.node:
            return await self._patiently(_ended, manner)
        first = None
        if await self._patiently(_stands, manner) == "pre-switchover":
            first = self._go_on
            await asyncio.gather(self._leave(disks, manner), self._note_sent())
        return await self.until(_ended, first=first)

    async def _patiently(self, reached: Callable[[str], bool], manner: Manner) -> str:
        """``until``, of what it stands still for; for longer where it comes to no end else."""
        allowed: asyncio.Task[Any] | None = None

        def told(event: str, data: Mapping[str, Any]) -> None:
            nonlocal allowed
            if event == "MIGRATION_PASS" and int(data["pass"]) > 1:
                self._written_out.again()
            if event == "MIGRATION_PASS" and int(data["pass"]) > _HOPE and allowed is None:
                limit = {"downtime-limit": manner.downtime}
                work = self._monitor.execute("migrate-set-parameters", **limit)
                allowed = asyncio.create_task(work)

        with self._running.listening(told):
            found = await self.until(reached)
        if allowed is not None:
            await asyncio.wait([allowed])
        return found

    async def _leave(self, disks: Sequence[int], manner: Manner) -> None:
        if manner.node:
            await mirrored_moves.leave(self._running, manner.node, self._barriers)
        if disks:
            await mirroring.finish(self._monitor, self._running, disks)

    async def _note_sent(self) -> None:
        self._sent = await self._info()

    async def status(self) -> str:
        """QEMU's word."""
        return str((await self._info()).get("status", "none"))

    async def until(
        self,
        reached: Callable[[str], bool],
        timeout: float | None = None,
        *,
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> str:
        """Until the status is one that was wanted, which is given back; says how far it is.

        ``first`` is what it is to be reached by. QEMU tells each status, and may be busy with
        just what is waited for: it is asked at the beginning, and for what there is to say.
        """
        heard: list[str] = []

        def told(event: str, data: Mapping[str, Any]) -> None:
            if event == "MIGRATION":
                heard.append(str(data.get("status")))

        async with asyncio.timeout(timeout):
            with News(self._running, told).listening() as news:
                said = time.monotonic()
                if first is not None:
                    await first()
                else:
                    heard.append(await self.status())
                while not (found := [status for status in heard if reached(status)]):
                    heard.clear()
                    if time.monotonic() - said >= timeouts.MIGRATION_REPORT:
                        said = time.monotonic()
                        info = await self._info()
                        heard.append(str(info.get("status", "none")))
                        self._progress(how_far(info))
                        continue
                    if self._running.mirrors is not None:
                        self._running.mirrors.ask()
                    await news.next()
                return found[-1]

    async def _go_on(self) -> None:
        """Have the rest sent; nothing of the mirrors is left by then."""
        await asyncio.gather(
            self._monitor.execute("migrate-continue", state="pre-switchover"),
            mirrored_moves.part(self._running),
        )

    async def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = await self._monitor.execute("query-migrate")
        return info

    async def _begin(self, link: Link, ports: Ports, disks: Sequence[int], manner: Manner) -> None:
        monitor = self._monitor
        if not await mirroring.alone(monitor, mirrored_moves.jobs(self._running)):
            raise Rejected(
                f"{self._running.record.spec.name} is being exported or mirrored now",
                "wait for the end of that job",
                reason=Reason.STATE,
                object_name=self._running.record.spec.name,
            )
        tls = await secured.calling(monitor, link)
        capabilities = {
            "events": True,
            "late-block-activate": False,
            "auto-converge": True,
            # It has not been sent before the other end says that it has it.
            "return-path": True,
            "pause-before-switchover": bool(disks or manner.node),
        }
        wanted = [{"capability": name, "state": on} for name, on in capabilities.items()]
        await monitor.execute("migrate-set-capabilities", capabilities=wanted)
        limits: dict[str, Any] = {
            "max-bandwidth": manner.bandwidth * _MIB or _NO_LIMIT,
            "downtime-limit": min(manner.downtime, _BRIEF),
        }
        await monitor.execute("migrate-set-parameters", **tls, **limits)
        if disks:
            await mirroring.begin(monitor, self._running, link, ports.disks, disks, self._progress)
        if manner.node:
            self._barriers = await mirrored_moves.about_to_leave(self._running)
        if not manner.live:
            await monitor.execute("stop")
        await self._call(link.host, ports.memory)
        await monitor.execute("migrate", uri=f"fd:{_CONNECTION}")

    async def _call(self, host: str, port: int) -> None:
        """QEMU has the connection. It would let what it sends last wait for an acknowledgement."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                async with asyncio.timeout(timeouts.CONNECT):
                    await asyncio.get_running_loop().sock_connect(connection, (host, port))
            except OSError as error:  # TimeoutError is one
                raise self._failed(str(error) or "the other node does not answer") from error
            connection.setblocking(True)
            await self._monitor.give(connection.fileno(), _CONNECTION)

    def _failed(self, why: str) -> OperationFailed:
        return OperationFailed(
            f"{self._running.record.spec.name} could not be sent: {why}",
            "it goes on where it was; see whether both nodes and the network between them are well",
            object_name=self._running.record.spec.name,
        )

    def _say_end(self, info: dict[str, Any]) -> None:
        sent = int(info.get("ram", {}).get("transferred", 0)) / _MIB
        took = int(info.get("total-time", 0)) / 1000
        self._progress(f"sent: {sent:.0f} MiB in {took:.1f} s")


def _stands(status: str) -> bool:
    return status not in ("active", "setup")


def _ended(status: str) -> bool:
    return status not in _UNDER_WAY


def how_far(info: dict[str, Any]) -> str:
    """Of a migration that is under way, in words: how much is left, and for how long. Pure."""
    ram = info.get("ram", {})
    total, left = int(ram.get("total", 0)), int(ram.get("remaining", 0))
    rate = float(ram.get("mbps", 0)) / 8 * 1e6
    again = int(ram.get("dirty-pages-rate", 0)) * int(ram.get("page-size", 4096))
    done = 100 * (total - left) // total if total else 0
    text = f"memory: {done} %, {left / _MIB:.0f} MiB left, {rate / _MIB:.0f} MiB/s"
    if again:
        text += f", of which {again / _MIB:.0f} MiB/s change again"
    if rate > again:
        text += f"; about {left / (rate - again):.0f} s"
    throttle = int(info.get("cpu-throttle-percentage", 0))
    return f"{text}; the guest is slowed down by {throttle} %" if throttle else text
