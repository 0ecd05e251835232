"""What is made ready in a QEMU that waits for a guest, as long as that still runs elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Final, Protocol

from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm import block_jobs, layers, sockets
from gantry.hypervisors.kvm.monitor import Event, Monitor
from gantry.hypervisors.kvm.record import Files, Record
from gantry.model import timeouts
from gantry.model.entities import DiskTemplate
from gantry.model.names import Uuid

SOCKET: Final = "activation"
"""The name by which QEMU knows a listening socket at which nobody ever calls."""


class Waiting(Protocol):
    """A QEMU that waits."""

    record: Record
    files: Files
    awaited: Awaited | None

    async def monitor(self, timeout: float) -> Monitor:
        """The connection to its monitor."""

    def listening(self, told: Event) -> AbstractContextManager[None]:
        """Call ``told`` for every event of QEMU's meanwhile."""


class Awaited:
    """Known to the agent that made it ready: to a later one nothing is.

    ``nodes`` are the names of all of QEMU's nodes, ``secured`` those of the connections that have
    their certificates.
    """

    def __init__(self, nodes: set[str], secured: frozenset[str]) -> None:
        self.nodes = nodes
        self.secured = secured
        self.whole = False
        """The guest has come, as QEMU has told."""
        self._listening = ExitStack()

    def listen(self, running: Waiting) -> None:
        """To what QEMU tells, from now on."""
        self._listening.enter_context(running.listening(self._told))

    def _told(self, event: str, data: Mapping[str, Any]) -> None:
        """An event of QEMU."""
        if event == "MIGRATION":
            self.whole = data.get("status") == "completed"


async def prepare(running: Waiting, peers: Peers, node: Uuid) -> None:
    """For mirrored disks, which are going to be mirrored to ``node``, where the guest is now."""
    monitor = await running.monitor(timeouts.QMP)
    await give_socket(monitor, running.files)
    names = [
        block_jobs.remote_name(disk.index, node)
        for disk in running.record.spec.disks
        if disk.template is DiskTemplate.MIRROR
    ]
    credentials = peers.credentials()
    await monitor.execute_all([block_jobs.securing(name, credentials) for name in names])
    running.awaited = Awaited(await layers.names(monitor), frozenset(names))
    running.awaited.listen(running)


async def give_socket(monitor: Monitor, files: Files) -> None:
    """QEMU has the socket by which it makes disks active."""
    try:
        with sockets.listen(files.volatile, SOCKET) as listener:
            await monitor.give(listener.fileno(), SOCKET)
    finally:
        (files.volatile / SOCKET).unlink(missing_ok=True)
