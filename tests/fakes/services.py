"""``api.services.Services`` in memory: everything is set by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from gantry.api.services import LockRow
from gantry.model import bundles, timeouts
from gantry.model.entities import Bundle
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.hook_runs import HookRun, HookRunChoice
from gantry.model.names import Uuid
from gantry.model.orders import OsList, Question
from gantry.pki.joining import JoinBundle, JoinRequest
from gantry.ports.agents import Address

A = TypeVar("A", bound=msgspec.Struct)


class FakeConsole:
    """Says back what was typed, in capitals; ``end`` ends it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.detached = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether somebody detached."""
        return self.detached.is_set()

    async def output(self) -> AsyncIterator[bytes]:
        """See the port."""
        while (data := await self._queue.get()) is not None:
            yield data

    async def write(self, data: bytes) -> None:
        """See the port."""
        self._queue.put_nowait(data.upper())

    async def close(self) -> None:
        """See the port."""
        self.detached.set()

    def say(self, data: bytes) -> None:
        """The guest writes."""
        self._queue.put_nowait(data)

    def end(self) -> None:
        """The guest is gone."""
        self._queue.put_nowait(None)


class FakeLock(NamedTuple):
    """A row."""

    name: str
    mode: str | None
    owners: Sequence[int]
    pending: Sequence[int]


class FakeHookRuns:
    """Runs of hooks, without any choice; ``choices`` are what was asked for."""

    def __init__(self) -> None:
        self.runs: list[HookRun] = []
        self.choices: list[HookRunChoice] = []
        self.told: list[str] = []
        """Nodes of which runs were missed."""

    async def find(self, choice: HookRunChoice) -> Sequence[HookRun]:
        """See the port."""
        self.choices.append(choice)
        return self.runs[: choice.limit]

    async def get(self, run: str) -> HookRun | None:
        """See the port."""
        found = [one for one in self.runs if one.id.startswith(run)]
        return found[0] if len(found) == 1 else None

    def missed(self, node: Address) -> None:
        """See the port."""
        self.told.append(node.name)


class FakeServices:
    """Filled by the test."""

    def __init__(self) -> None:
        self.consoles: list[tuple[Address, Uuid, FakeConsole]] = []
        self.attached = asyncio.Event()
        """Set with the first console."""
        self.oses: dict[str, OsList] = {}
        self.agents: dict[Uuid, tuple[str, Callable[[Any], Awaitable[Any]]]] = {}
        """The name of each node, and what answers for it."""
        self.hook_runs = FakeHookRuns()
        self.bundles: dict[str, Bundle] = {}
        self.rows: tuple[LockRow, ...] = ()
        self.joined: list[JoinRequest] = []
        self.secret = "right"
        self.ended = False

    async def console(self, address: Address, instance: Uuid) -> FakeConsole:
        """See the port."""
        found = FakeConsole()
        self.consoles.append((address, instance, found))
        self.attached.set()
        return found

    async def diagnose_oses(self) -> Mapping[str, OsList]:
        """See the port."""
        return self.oses

    async def ask_nodes(
        self, nodes: Sequence[Uuid], question: Question[A], timeout: float = timeouts.READ
    ) -> dict[str, A | GantryError]:
        """See the port."""
        found: dict[str, A | GantryError] = {}
        for uuid in nodes:
            name, answer = self.agents[uuid]
            try:
                found[name] = await answer(question)
            except GantryError as error:
                found[name] = error
        return found

    async def keep_bundle(self, target: str, packed: bytes) -> Bundle:
        """See the port."""
        files = bundles.unpack(packed)
        manifest = bundles.entries(files)
        number = len(self.bundles) + 1
        made = Bundle(
            uuid=Uuid(f"00000000-0000-4000-8000-0000000006{number:02d}"),
            name=f"{target}-{number}",
            target=target,
            number=number,
            sha256=bundles.digest(manifest),
            packed=packed,
            files=manifest,
        )
        return self.bundles.setdefault(made.sha256, made)

    def ca_certificate(self) -> str:
        """See the port."""
        return "-----BEGIN CERTIFICATE-----\n"

    async def accept_join(self, request: JoinRequest) -> JoinBundle:
        """See the port."""
        if request.secret != self.secret:
            raise Rejected("the token is not valid", reason=Reason.STATE)
        self.joined.append(request)
        return JoinBundle(
            cluster=Uuid("00000000-0000-4000-8000-000000000002"),
            cluster_name="cluster.example.com",
            node=Uuid("00000000-0000-4000-8000-000000000104"),
            name="node4.example.com",
            ca="CA",
            certificate="CERTIFICATE",
        )

    async def create_token(self, name: str) -> str:
        """See the port."""
        return f"gantry-join-1:{name}"

    def locks(self) -> Sequence[LockRow]:
        """See the port."""
        return self.rows

    async def store(self) -> Mapping[str, Any]:
        """See the port."""
        return {"kind": "sqlite", "file": "/state.db", "size": 0}

    async def backup_state(self) -> str:
        """See the port."""
        return "/var/lib/gantry/backup/state-1.db"

    async def destroyed(self) -> None:
        """See the port."""
        self.ended = True
