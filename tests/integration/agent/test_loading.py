"""An agent is on every node: what few orders need is loaded with the first of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.contract.agents.requests import disk, envelope, guest, start
from tests.support.agent_process import AgentProcess, TestAuthority

from gantry.agent import configuration
from gantry.agent.dispatch import ORDERS, QUESTIONS
from gantry.model.backup_orders import ReadExports
from gantry.model.orders import DiskCreate, GuestStop, ReadFacts

HEAVY = {
    "argparse",
    "gettext",
    "configparser",
    "ctypes",
    "cryptography",
    "difflib",
    "frozenlist._frozenlist",
    "sqlite3",
    "tarfile",
    "gantry.cli",
    "gantry.hypervisors.kvm.keeping",
    "gantry.hypervisors.kvm.mirrors",
    "gantry.hypervisors.kvm.plugging",
    "gantry.hypervisors.kvm.snapshot",
    "gantry.jobs",
    "gantry.operations",
    "gantry.store",
}
"""Each is 0.1 to 3 MiB."""
RARE = {
    "gantry.agent." + code.partition(":")[0]
    for code in (*ORDERS.values(), *QUESTIONS.values())
    if isinstance(code, str)
}
PROGRAM = """
import sys
from gantry.main.gantry import main
status = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write("\\n".join(sys.modules))
raise SystemExit(status)
"""


class Watched(AgentProcess):
    """Tells at its end what it had loaded."""

    def _spawn(self, inherited: int) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-c", PROGRAM, str(self.root / "loaded"), *self._command()]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        argv += ["--ready-fd", str(inherited)]
        return subprocess.Popen(argv, pass_fds=[inherited], env=environment)

    async def loaded(self) -> set[str]:
        assert await self.kill(signal.SIGTERM) == 0, self.log()
        return set((self.root / "loaded").read_text().splitlines())


@pytest.fixture
def watched(tmp_path: Path, ca: TestAuthority) -> Watched:
    made = Watched(tmp_path, ca)
    both = msgspec.structs.replace(made.configuration, hypervisors=("kvm", "fake"))
    configuration.write(made.root, both)
    return made


async def test_daily_work_loads_nothing_heavy(watched: Watched, ca: TestAuthority) -> None:
    assert RARE, "no order is rare, which was the point"
    await watched.start()
    master = ca.master()
    spec = guest()
    await master.order(watched.address, envelope("j/disk"), DiskCreate(disk=disk()))
    await master.order(watched.address, envelope("j/start"), start(spec))
    stop = GuestStop(uuid=spec.uuid, hypervisor=spec.hypervisor, timeout=5.0, forget=True)
    await master.order(watched.address, envelope("j/stop"), stop)
    await master.ask(watched.address, ReadFacts(), 10.0)
    await master.close()
    found = await watched.loaded()
    assert "gantry.hypervisors.kvm" in found
    assert found & (HEAVY | RARE) == set()


async def test_a_rare_order_loads_its_code(watched: Watched, ca: TestAuthority) -> None:
    await watched.start()
    master = ca.master()
    there = await master.ask(watched.address, ReadExports(), 10.0)
    assert there.exports == ()
    await master.close()
    assert "gantry.agent.exports" in await watched.loaded()
