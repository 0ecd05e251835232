"""Real agent processes for tests: roots, certificates, starting, killing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

from tests.support.addresses import own_address

from gantry.agent import configuration
from gantry.agent.configuration import Configuration
from gantry.local.simulation import NODES
from gantry.model.names import Uuid
from gantry.pki import files
from gantry.pki.authority import Authority, Issued
from gantry.ports.agents import Address
from gantry.rpc.certificates import Files
from gantry.rpc.client import HttpAgents


def new_uuid() -> Uuid:
    return Uuid(str(uuid.uuid4()))


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class TestAuthority:
    """A cluster's CA, and a master's certificate of it."""

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self.cluster = new_uuid()
        self.authority = Authority.create(self.cluster, "cluster.example.com", time.time())
        self.root = directory / "master"
        self.authority.save(self.root)

    def files(self, name: str, issued: Issued) -> Files:
        files.write(files.certificate(self.root, name), issued.certificate)
        files.write(files.key(self.root, name), issued.key)
        return Files(
            ca=files.certificate(self.root, files.CA),
            certificate=files.certificate(self.root, name),
            key=files.key(self.root, name),
        )

    def master(self, node: Uuid | None = None) -> HttpAgents:
        """The agents as the master on ``node`` calls them."""
        issued = self.authority.issue_master(time.time())
        return HttpAgents(self.files(files.MASTER, issued), self.cluster, node or new_uuid())


class AgentProcess:
    """One node with its root, and its agent, which may be killed and started again."""

    def __init__(self, directory: Path, ca: TestAuthority, name: str = "node1") -> None:
        self.root = directory / name
        self.uuid = new_uuid()
        host = own_address()
        self.configuration = Configuration(
            cluster=ca.cluster,
            node=self.uuid,
            name=name,
            host=host,
            port=free_port(host),
            hypervisors=("fake",),
        )
        self.address = Address(self.uuid, name, host, self.configuration.port)
        self.process: subprocess.Popen[bytes] | None = None
        self.timeouts: dict[str, float] = {}
        """Those that are other than usual, by their names, from the next start on."""
        configuration.write(self.root, self.configuration)
        self.certify(ca, ca.authority.issue_node(self.uuid, name, time.time()))

    def certify(self, ca: TestAuthority, issued: Issued) -> None:
        files.write(files.certificate(self.root, files.CA), ca.authority.certificate)
        files.write(files.certificate(self.root, files.NODE), issued.certificate)
        files.write(files.key(self.root, files.NODE), issued.key)

    async def start(self) -> None:
        """Returns when it accepts orders."""
        ready, inherited = os.pipe()
        self.process = self._spawn(inherited)
        os.close(inherited)
        try:
            async with asyncio.timeout(100):
                line = await asyncio.to_thread(os.read, ready, 100)
        finally:
            os.close(ready)
        assert line == b"ready\n", f"the agent ended: {self.log()}"

    def _spawn(self, inherited: int) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return subprocess.Popen(self._started(inherited), pass_fds=[inherited], env=environment)

    def _started(self, inherited: int) -> list[str]:
        return [*self._program(), *self._command(), "--ready-fd", str(inherited)]

    def _program(self) -> list[str]:
        if not self.timeouts:
            return [sys.executable, "-m", "gantry.main.gantry"]
        lines = ["import sys", "from gantry.model import timeouts"]
        lines += [f"timeouts.{name} = {seconds!r}" for name, seconds in self.timeouts.items()]
        lines += ["from gantry.main.gantry import main", "sys.exit(main())"]
        return [sys.executable, "-c", "; ".join(lines)]

    def _command(self) -> list[str]:
        return ["agent", "--root", str(self.root)]

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it and wait for its end; guests and scripts go on."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        status = await asyncio.to_thread(self.process.wait, 100)
        self.process = None
        return status

    async def close(self) -> None:
        if self.process is not None:
            await self.kill(signal.SIGTERM)

    def log(self) -> str:
        path = self.root / configuration.LOG
        return path.read_text() if path.exists() else ""


class SimulatedProcess(AgentProcess):
    """One of several nodes whose agents share a process. The others are in ``others``."""

    def __init__(self, directory: Path, ca: TestAuthority, name: str = "node1") -> None:
        super().__init__(directory, ca, name)
        self.directory = directory
        self.others = [AgentProcess(directory, ca, f"other{number}") for number in (1, 2)]

    def _command(self) -> list[str]:
        roots = [self.others[0].root, self.root, self.others[1].root]
        crew = self.directory / "simulation1"
        (crew / NODES).parent.mkdir(parents=True, exist_ok=True)
        (crew / NODES).write_text(json.dumps({"roots": [str(root) for root in roots]}))
        return ["simulate", "--root", str(crew)]
