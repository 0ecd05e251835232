"""A page of the documentation, typed on machines: its command blocks, as they stand there.

A block's first line says where it is typed. The machines of ``tests.support.namespaces`` share a
file system, so paths and addresses of the page are replaced by their own, and ``ssh``, ``scp``
and ``systemctl`` are small programs that do the same for them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.cluster import GANTRY, Done, alive, eventually
from tests.support.namespaces import Machine, definitions

_BLOCK = re.compile(r"^```\n# on ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATHS = (
    "/etc/gantry/store",
    "/etc/etcd",
    "/etc/default/etcd",
    "/var/lib/etcd",
    "/run/gantry.token",
)
_OWN = re.compile(r"^(?:NAME=\S+ )?ADDRESS=\S+$", re.MULTILINE)


class Block(NamedTuple):
    """``where`` is what follows "# on " in the block's first line."""

    where: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The command blocks that say where they are typed, in their order."""
    for found in _BLOCK.finditer(page.read_text()):
        yield Block(found[1], found[2])


class Typist:
    """Types on one machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._bin = machine.root / "bin"
        self._units = machine.root / "units"
        self._set_up()

    def _set_up(self) -> None:
        root = self.machine.root
        for name in ("bin", "units", "root", "run", "etc/default"):
            (root / name).mkdir(parents=True)
        for program in ("gnt-cluster", "gnt-node", "gnt-instance", "gantry"):
            module = "gantry" if program == "gantry" else "gnt"
            call = "main()" if program == "gantry" else f"main({program!r}, sys.argv[1:])"
            text = f"import sys\nfrom gantry.main.{module} import main\nsys.exit({call})\n"
            self._program(program, text)
        names = {"DIR": str(root.parent), "ROOT": str(root), "GANTRY": GANTRY}
        given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        self._program("ssh", given + _SSH)
        self._program("scp", given + _SCP)
        self._program("systemctl", given + _SYSTEMCTL)

    def _program(self, name: str, text: str) -> None:
        path = self._bin / name
        path.write_text(f"#!{sys.executable} -I\n{text}")
        path.chmod(0o755)

    def type(self, block: Block) -> Done:
        """All of a block; ends at the first command that fails."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.machine.namespace, "bash", "-euo", "pipefail", "-c",
             self._replaced(block.text)],
            capture_output=True,
            text=True,
            timeout=110,
            cwd=self.machine.root / "root",
            env={**self.machine.environment(), "PATH": f"{self._bin}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def _replaced(self, text: str) -> str:
        number = self.machine.number

        def own(found: re.Match[str]) -> str:
            name = f"NAME=node{number} " if found[0].startswith("NAME") else ""
            return f"{name}ADDRESS={self.machine.address}"

        text = _OWN.sub(own, text)
        text = re.sub(r"192\.0\.2\.1([1-3])", self.machine.address[:-1] + r"\1", text)
        for path in _PATHS:
            text = text.replace(path, str(self.machine.root) + path)
        # No virtualisation and no bridge in here, and nobody resolves names.
        return text.replace(
            "--enabled-hypervisors kvm -N mode=bridged,link=br0",
            "--enabled-hypervisors fake --no-name-check --no-ip-check",
        )

    def switch_on(self, *units: str) -> None:
        """The machine boots, with what was enabled."""
        for unit in units:
            subprocess.run(
                ["ip", "netns", "exec", self.machine.namespace, self._bin / "systemctl", "start",
                 unit],
                env={**self.machine.environment(), "PATH": os.environ["PATH"]},
                timeout=60,
                check=True,
            )  # fmt: skip

    def switch_off(self) -> None:
        """From one moment to the next nothing runs any more."""
        for unit in self._units.iterdir():
            pid = int(unit.read_text())
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
            eventually(f"{unit.name} ends", lambda pid=pid: not alive(pid))  # type: ignore[misc]
            unit.unlink()

    def made_anew(self) -> None:
        """In its place stands an empty machine."""
        self.switch_off()
        shutil.rmtree(self.machine.root)
        self.machine.root.mkdir()
        definitions(self.machine.root)
        self._set_up()


_SSH = """
import subprocess, sys
target = sys.argv[1].partition(".")[0]
args = [one.replace(ROOT + "/", f"{DIR}/{target}/") for one in sys.argv[2:]]
sys.exit(subprocess.run(args).returncode)
"""
_SCP = """
import os, sys
host, _, path = sys.argv[2].partition(":")
own, others = ROOT + "/", f"{DIR}/{host.partition('.')[0]}/"
with open(sys.argv[1]) as file:
    text = file.read()
os.umask(0o077)
with open(path.replace(own, others), "w") as file:
    file.write(text.replace(own, others))
"""
_SYSTEMCTL = """
import os, subprocess, sys
words = sys.argv[1:]
units = [one.removesuffix(".service") for one in words[1:] if not one.startswith("--")]
if words[0] == "enable" and "--now" not in words:
    sys.exit(0)
assert words[0] in ("enable", "start"), words
for unit in units:
    ready, inherited = os.pipe()
    environment = dict(os.environ, GANTRY_ROOT=ROOT)
    argv = [*GANTRY, unit.removeprefix("gantry-"), "--ready-fd", str(inherited)]
    if unit == "etcd":
        argv = ["etcd", "--log-level", "error"]
        lines = open(f"{ROOT}/etc/default/etcd").read().split()
        environment.update(line.split("=", 1) for line in lines)
    log = open(f"{ROOT}/{unit}.log", "ab")
    process = subprocess.Popen(
        argv, env=environment, pass_fds=[inherited], stdin=subprocess.DEVNULL,
        stdout=log, stderr=log, start_new_session=True, cwd="/",
    )
    with open(f"{ROOT}/units/{unit}", "w") as file:
        file.write(str(process.pid))
    os.close(inherited)
    if unit != "etcd" and not os.read(ready, 100):
        sys.exit(f"{unit} did not start: see {ROOT}/{unit}.log")
"""
