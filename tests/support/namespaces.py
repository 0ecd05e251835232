"""Machines made of network namespaces on one bridge, each with a root of its own. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.cluster import COMMAND, GANTRY, Done, short_directory

NETWORK = "10.77.84"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=60)


class Machine:
    """One namespace: its address, its root, its daemons."""

    def __init__(self, number: int, mark: str, directory: Path) -> None:
        self.number = number
        self.namespace = f"gnt{mark}-{number}"
        self._cable, self._bridge = f"gv{mark}{number}", f"gbr{mark}"
        self.name = f"node{number}.example.com"
        self.address = f"{NETWORK}.{number}"
        self.root = directory / f"node{number}"
        self.root.mkdir()
        self.daemons: list[subprocess.Popen[bytes]] = []
        self._tap = ""

    def run(self, program: str, *arguments: str, stdin: str = "", timeout: float = COMMAND) -> Done:
        """A program as root of this machine would run it."""
        done = subprocess.run(
            self.argv(program, *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(),
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, program: str, *arguments: str, stdin: str = "") -> str:
        done = self.run(program, *arguments, stdin=stdin)
        assert done.status == 0, f"{program} {' '.join(arguments)}: {done.said}"
        return done.stdout

    def start(self, role: str, **timeouts: float) -> None:
        """A daemon; returns when it serves. ``timeouts``, by their names, are other than usual."""
        ready, inherited = os.pipe()
        try:
            self.daemons.append(
                subprocess.Popen(
                    [*self.inside, *gantry(timeouts), role, "--ready-fd", str(inherited)],
                    env=self.environment(),
                    pass_fds=[inherited],
                )
            )
            os.close(inherited)
            assert os.read(ready, 100), f"the {role} of {self.name} ended"
        finally:
            os.close(ready)

    def cut(self) -> None:
        """Nothing comes or goes any more, and nobody is told: its cable is not in the bridge."""
        _ip("link", "set", self._cable, "nomaster")

    def heal(self) -> None:
        """The cable is in again."""
        _ip("link", "set", self._cable, "master", self._bridge)

    def replaced(self) -> tuple[str, str]:
        """Its cable is not in the bridge any more, but that of an emulated machine in its place.

        The other end of that is a network device of the kind tap here; its name, and the address
        of the network card that the other machines know.
        """
        show = ("ip", "-n", self.namespace, "-json", "link", "show", "eth0")
        done = subprocess.run(show, check=True, capture_output=True, timeout=60)
        self.cut()
        self._tap = f"gt{self._cable[2:]}"
        _ip("tuntap", "add", "dev", self._tap, "mode", "tap")
        _ip("link", "set", self._tap, "master", self._bridge, "up")
        return self._tap, str(json.loads(done.stdout)[0]["address"])

    def close(self) -> None:
        if self._tap:
            _ip("link", "delete", self._tap)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            assert daemon.wait(100) == 0

    def argv(self, program: str, *arguments: str) -> list[str]:
        call = f"import sys; from gantry.main.gnt import main; sys.exit(main({program!r}"
        call += ", sys.argv[1:]))"
        argv = GANTRY if program == "gantry" else [sys.executable, "-I", "-c", call]
        return [*self.inside, *argv, *arguments]

    @property
    def inside(self) -> list[str]:
        """What runs a program on it, as the beginning of its arguments."""
        return ["ip", "netns", "exec", self.namespace]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "GANTRY_ROOT": str(self.root),
        }


def gantry(timeouts: Mapping[str, float]) -> list[str]:
    """The program, with ``timeouts``, by their names, that are other than usual."""
    if not timeouts:
        return GANTRY
    lines = ["import sys", "from gantry.model import timeouts"]
    lines += [f"timeouts.{name} = {seconds!r}" for name, seconds in timeouts.items()]
    lines += ["from gantry.main.gantry import main", "sys.exit(main())"]
    return [sys.executable, "-I", "-c", "; ".join(lines)]


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """So many machines that reach each other, and nobody else."""
    mark = uuid.uuid4().hex[:5]
    bridge = f"gbr{mark}"
    with ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "delete", bridge)
        _ip("link", "set", bridge, "up")
        made = [Machine(number + 1, mark, directory) for number in range(count)]
        for machine in made:
            _ip("netns", "add", machine.namespace)
            stack.callback(_ip, "netns", "delete", machine.namespace)
            _connect(machine, mark, bridge)
        for machine in made:
            stack.callback(machine.close)
            definitions(machine.root)
        yield made


def _connect(machine: Machine, mark: str, bridge: str) -> None:
    outside, inside = f"gv{mark}{machine.number}", "eth0"
    _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", machine.namespace)
    _ip("link", "set", outside, "master", bridge, "up")
    within = ("-n", machine.namespace)
    _ip(*within, "link", "set", "lo", "up")
    _ip(*within, "link", "set", inside, "up")
    _ip(*within, "address", "add", f"{machine.address}/24", "dev", inside)


def definitions(root: Path) -> None:
    """The OS definitions that a machine has before anything is done on it."""
    source = Path(__file__).resolve().parents[2] / "os"
    (root / "srv/ganeti").mkdir(parents=True)
    shutil.copytree(source, root / "srv/ganeti/os")
