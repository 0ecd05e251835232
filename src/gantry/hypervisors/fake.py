"""A hypervisor without guests: behaves fully and costs nothing; for tests and simulation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gantry.hypervisors.contract import Console
from gantry.model.live import GuestLive, HypervisorFacts
from gantry.model.names import Uuid
from gantry.model.orders import ConsoleAddress, GuestSpec


class Fake:
    """The driver; see the contract."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """Its name in specifications."""
        return "fake"

    async def facts(self) -> HypervisorFacts:
        """What it offers here."""
        raise NotImplementedError

    async def open(self, changed: Callable[[GuestLive], None]) -> None:
        """Adopt what runs."""
        raise NotImplementedError

    async def start(self, spec: GuestSpec, *, paused: bool = False) -> GuestLive:
        """Start the guest."""
        raise NotImplementedError

    async def stop(
        self,
        uuid: Uuid,
        *,
        timeout: float,
        force: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Stop the guest."""
        raise NotImplementedError

    async def reset(self, uuid: Uuid) -> None:
        """Reset the guest."""
        raise NotImplementedError

    async def forget(self, uuid: Uuid) -> None:
        """Drop what is kept."""
        raise NotImplementedError

    def guests(self) -> tuple[GuestLive, ...]:
        """Every guest, from memory."""
        raise NotImplementedError

    async def read_guests(self) -> tuple[GuestLive, ...]:
        """Every guest, asked now."""
        raise NotImplementedError

    async def console(self, uuid: Uuid) -> Console:
        """Attach to the console."""
        raise NotImplementedError

    async def console_address(self, uuid: Uuid) -> ConsoleAddress:
        """Where the console is."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go."""
        raise NotImplementedError
