"""Which guests a node has, for all parts of the KVM driver: who is up, and who ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from gantry.hypervisors.contract import Taps
from gantry.hypervisors.kvm import facts
from gantry.hypervisors.kvm.launch import Surroundings
from gantry.hypervisors.kvm.mirrored import Means
from gantry.hypervisors.kvm.record import Files
from gantry.hypervisors.kvm.running import Running
from gantry.model import parameters
from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestLive, GuestState, HypervisorFacts
from gantry.model.names import Uuid

_log = logging.getLogger(__name__)
_HOW = {
    GuestState.STOPPED: "it was shut down: gnt-instance startup {name}",
    GuestState.SHUT_DOWN: "it has powered itself off: gnt-instance startup {name}",
    GuestState.DIED: "it died, and is started again by itself if it is to be up; then once more",
}
"""What to do where a guest has ended, by how it did."""


class Known:
    """The guests of a node, by uuid; each tells it of its changes."""

    def __init__(
        self,
        root: Path,
        node_name: str,
        taps: Taps | None = None,
        mirrored: Means | None = None,
    ) -> None:
        self._around = Surroundings(root=root, node=node_name, taps=taps, mirrored=mirrored)
        self._durable = root / "var/lib/gantry/guests"
        self._volatile = root / "run/gantry/guests"
        self._changed: Callable[[GuestLive], None] = lambda _guest: None
        self._running: dict[Uuid, Running] = {}
        self._ended: dict[Uuid, GuestLive] = {}
        self._starting: WeakValueDictionary[Uuid, asyncio.Lock] = WeakValueDictionary()
        """As long as somebody starts that guest."""
        self._asking = asyncio.Lock()
        self._facts: dict[tuple[str, float], HypervisorFacts] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    def changed(self, guest: GuestLive) -> None:
        """A guest tells its state; one that is not up yet is told of by ``start``."""
        if guest.uuid in self._running:
            self._changed(guest)

    def ended(self, guest: GuestLive) -> None:
        """A guest tells its end."""
        self._running.pop(guest.uuid, None)
        self._ended[guest.uuid] = guest
        self._changed(guest)

    def parted(self, uuid: Uuid, device: str) -> None:
        """A disk that its record names it gets again."""
        running = self._running.get(uuid)
        if running is not None:
            from gantry.hypervisors.kvm import plugging

            self.background(plugging.restore(running, device, str(self._around.root)))

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        """A guest's own doing, beside what was ordered."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("following a guest failed", exc_info=error)

    def _came(self, running: Running) -> None:
        """A new one is up, unless its whole life was over before this."""
        uuid = running.record.spec.uuid
        if not running.gone.is_set():
            self._running[uuid] = running
            self._ended.pop(uuid, None)
            self._changed(running.live())

    def _files(self, uuid: Uuid) -> Files:
        return Files(self._durable / uuid, self._volatile / uuid)

    def _up(self, uuid: Uuid) -> Running:
        running = self._running.get(uuid)
        if running is None:
            known = self._ended.get(uuid)
            raise Rejected(
                f"{known.name if known else f'guest {uuid}'} is not running",
                _HOW.get(known.state, "").format(name=known.name) if known else "",
                reason=Reason.STATE,
                node=self._around.node,
            )
        return running

    async def _facts_of(self, binary: str) -> HypervisorFacts:
        path = Path(binary or str(parameters.KVM["kvm_path"]))
        key = (str(path), path.stat().st_mtime if path.exists() else 0.0)
        async with self._asking:
            if key not in self._facts:
                probed = self._around.root / "run/gantry/kvm-probe.json"
                found = await facts.ask(str(path), probed)
                if not found.available:
                    return found
                self._facts[key] = found
            return self._facts[key]
