"""One node behind each implementation of the port, with what a test must arrange on it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Protocol

import msgspec
from tests.fakes.agents import FakeAgents
from tests.fakes.world import NOOP, FakeNode, World
from tests.support.agent_process import AgentProcess, SimulatedProcess, TestAuthority, new_uuid
from tests.support.oob import write_oob_program

from gantry.model.bundles import HOOKS, of_os
from gantry.model.names import Uuid
from gantry.ports.agents import Address, Agents
from gantry.rpc.client import HttpAgents


class Harness(Protocol):
    """A node that answers, and its master's end."""

    agents: Agents
    address: Address
    master: Uuid
    """The node of the master that ``agents`` belong to."""

    def another_master(self) -> Agents:
        """The same agents as the master on another node calls them."""

    async def disconnect(self) -> None:
        """The node does not answer from now on."""

    def add_hook(self, directory: str, script: str, exit_status: int, output: str) -> None:
        """Put a hook script on the node."""

    def add_local_hook(self, path: str) -> None:
        """Put a script there by hand."""

    def add_os(self, name: str) -> None:
        """Put an OS definition on the node whose create succeeds."""

    def add_oob_program(self, path: str) -> None:
        """Put a program on the node that switches machines' power."""

    def let_die(self, guest: str) -> None:
        """A guest of that name dies soon after its start."""

    def file(self, name: str) -> str | None:
        """A file below /var/lib/ganeti."""

    def disk_is_there(self, path: str) -> bool:
        """Whether there is a disk at that path."""

    def write_to(self, path: str) -> None:
        """Something is on that disk."""

    def let_master_wait(self, waits: bool) -> None:
        """Whether a master process waits on the node."""

    def state_copies(self) -> list[bytes]:
        """The copies of a master's state that the node keeps."""

    def state(self) -> bytes | None:
        """The master's state that is in use on the node, or about to be."""

    def history(self) -> bytes:
        """The history there."""

    async def close(self) -> None:
        """End everything."""


class FakeHarness:
    def __init__(self, directory: Path) -> None:
        world = World()
        self.node = world.add(FakeNode(new_uuid(), "node1"))
        self.node.oses = ()
        self.fake = FakeAgents(world, heartbeat=0.2)
        self.agents: Agents = self.fake
        self.master = self.fake.master
        self.address = self.fake.address(self.node)

    async def open(self) -> None:
        pass

    def another_master(self) -> Agents:
        return self.fake.seen_from(new_uuid())

    async def disconnect(self) -> None:
        self.fake.disconnect(self.node)

    def add_hook(self, directory: str, script: str, exit_status: int, output: str) -> None:
        self.node.add_hook(directory, script, exit_status=exit_status, output=output)

    def add_local_hook(self, path: str) -> None:
        self.node.bundles_of(HOOKS).local.add(path)

    def add_os(self, name: str) -> None:
        self.node.oses += (msgspec.structs.replace(NOOP, name=name),)
        self.node.bundles_of(of_os(name)).local.add(name)

    def add_oob_program(self, path: str) -> None:
        self.node.oob_programs.add(path)

    def let_die(self, guest: str) -> None:
        self.node.dying.add(guest)

    def file(self, name: str) -> str | None:
        return self.node.files.get(name)

    def disk_is_there(self, path: str) -> bool:
        return path in self.node.disks

    def write_to(self, path: str) -> None:
        self.node.disks[path].content = "kept"

    def let_master_wait(self, waits: bool) -> None:
        self.node.waiting = waits

    def state_copies(self) -> list[bytes]:
        return [files["state"] for files in self.node.copies]

    def state(self) -> bytes | None:
        return self.node.taken_over[1].get("state")

    def history(self) -> bytes:
        return self.node.history

    async def close(self) -> None:
        await self.fake.close()


class RealHarness:
    process_type: type[AgentProcess] = AgentProcess

    def __init__(self, directory: Path) -> None:
        self.ca = TestAuthority(directory)
        self.process = self.process_type(directory, self.ca)
        self.address = self.process.address
        self.root = self.process.root
        self.master = new_uuid()
        self.standby: socket.socket | None = None

    async def open(self) -> None:
        await self.process.start()
        self.http: HttpAgents = self.ca.master(self.master)
        self.agents: Agents = self.http
        self.others: list[HttpAgents] = []

    def another_master(self) -> Agents:
        self.others.append(self.ca.master(new_uuid()))
        return self.others[-1]

    async def disconnect(self) -> None:
        await self.process.kill()

    def add_hook(self, directory: str, script: str, exit_status: int, output: str) -> None:
        path = self.root / "etc/ganeti/hooks" / directory / script
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nprintf '%s' '{output}'\nexit {exit_status}\n")
        path.chmod(0o755)

    def add_local_hook(self, path: str) -> None:
        directory, _, script = path.partition("/")
        self.add_hook(directory, script, 0, "")

    def add_os(self, name: str) -> None:
        path = self.root / "srv/ganeti/os" / name
        path.mkdir(parents=True)
        for script in ("create", "import", "export", "rename", "verify"):
            (path / script).write_text('#!/bin/sh\necho "installing $INSTANCE_OS"\n')
            (path / script).chmod(0o755)
        (path / "ganeti_api_version").write_text("20\n")
        (path / "parameters.list").write_text("size how large\n")

    def add_oob_program(self, path: str) -> None:
        write_oob_program(self.root / path.lstrip("/"))

    def let_die(self, guest: str) -> None:
        path = self.root / "etc/gantry/fake-failures.json"
        path.write_text(json.dumps({guest: {"die_after": 0.05}}))

    def file(self, name: str) -> str | None:
        path = self.root / "var/lib/ganeti" / name
        return path.read_text() if path.exists() else None

    def disk_is_there(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()

    def write_to(self, path: str) -> None:
        with (self.root / path.lstrip("/")).open("r+b") as file:
            file.write(b"kept")

    def let_master_wait(self, waits: bool) -> None:
        path = self.root / "run/gantry/standby.sock"
        path.unlink(missing_ok=True)
        if self.standby is not None:
            self.standby.close()
            self.standby = None
        if waits:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.standby = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.standby.bind(str(path))

    def state_copies(self) -> list[bytes]:
        found = (self.root / "var/lib/gantry/copies").glob("state-*.sqlite")
        return [path.read_bytes() for path in found]

    def state(self) -> bytes | None:
        path = self.root / "var/lib/gantry/state.db"
        return path.read_bytes() if path.exists() else None

    def history(self) -> bytes:
        return (self.root / "var/lib/gantry/history.db").read_bytes()

    async def close(self) -> None:
        self.let_master_wait(False)
        for http in (self.http, *self.others):
            await http.close()
        await self.process.close()


class SimulatedHarness(RealHarness):
    process_type = SimulatedProcess


HARNESSES: dict[str, type[FakeHarness] | type[RealHarness]] = {
    "fake": FakeHarness,
    "real": RealHarness,
    "simulated": SimulatedHarness,
}
