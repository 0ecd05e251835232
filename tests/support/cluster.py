"""A local cluster for end-to-end tests: real programs, as a user would run them.

Nothing of Gantry is imported here but where things are; what tests expect is theirs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
GANTRY = [sys.executable, "-I", "-m", "gantry.main.gantry"]
SHIPPED = Path(__file__).resolve().parents[2] / "os"
POLL = 0.05
PATIENCE = 120.0
"""Seconds for which something is waited for that has no deadline of its own: longer than any of
the product's own pauses and attempts together, on a machine with many other things to do."""
COMMAND = 180.0
"""The same of a command, which may wait for a job that waits for a node."""


@dataclass(frozen=True)
class Done:
    """How a program ended and what it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        return self.stdout + self.stderr


def eventually(what: str, look: Callable[[], T], timeout: float = PATIENCE) -> T:
    """The first true answer of ``look``; fails with ``what`` when there is none in time.

    For what nobody announces to a user of the command line; never to give something time.
    """
    deadline = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        found = look()
        if found:
            return found
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        # Whoever looks by running a program leaves the processors to what is waited for.
        time.sleep(max(POLL, now - began))


class Cluster:
    """One local cluster in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._daemons: list[str] = []

    def whole(self) -> None:
        """All that should run does so now: ``mend`` brings that back."""
        self._daemons = self._daemons_now()

    def mend(self) -> None:
        """All daemons run, and the master is on node 1, whatever a test did."""
        # To look is cheap; most tests leave everything as it was.
        if self._daemons_now() != self._daemons:
            self.local("up")
        if not (self.root() / "run/gantry/master.sock").exists():
            eventually("the master is on node1 again", self._move_home)

    def _move_home(self) -> bool:
        return self.try_gnt("gnt-cluster", "master-failover").status == 0

    def _daemons_now(self) -> list[str]:
        """Their command lines, without what differs from start to start."""
        found = processes_below(self.directory)
        daemons = [line.partition(" --ready-fd")[0] for line in found]
        return sorted(one for one in daemons if re.search(r"gantry (agent|master) |^etcd ", one))

    def root(self, number: int = 1) -> Path:
        return self.directory / f"node{number}"

    def environment(self, number: int = 1) -> dict[str, str]:
        root = self.root(number)
        return {
            "PATH": f"{root}/bin:{os.environ['PATH']}",
            "GANTRY_ROOT": str(root),
            "HOME": os.environ.get("HOME", "/"),
            "LC_ALL": "C.UTF-8",
        }

    def local(self, *arguments: str, check: bool = True, timeout: float = COMMAND) -> Done:
        """``gantry local …`` on this cluster."""
        command, *rest = arguments
        done = _run(
            [*GANTRY, "local", command, "--dir", str(self.directory), *rest],
            dict(os.environ),
            timeout,
        )
        if check:
            assert done.status == 0, f"gantry local {' '.join(arguments)}: {done.said}"
        return done

    def try_gnt(
        self, program: str, *arguments: str, node: int = 1, timeout: float = COMMAND
    ) -> Done:
        """A program that may fail."""
        argv = [str(self.root(node) / "bin" / program), *arguments]
        done = _run(argv, self.environment(node), timeout)
        assert "Traceback" not in done.said, done.said
        return done

    def gnt(self, program: str, *arguments: str, node: int = 1, timeout: float = COMMAND) -> str:
        """What a program writes; it must succeed."""
        done = self.try_gnt(program, *arguments, node=node, timeout=timeout)
        assert done.status == 0, f"{program} {' '.join(arguments)}: {done.said}"
        return done.stdout

    def refused(self, program: str, *arguments: str) -> str:
        """What a program complains; it must fail."""
        done = self.try_gnt(program, *arguments)
        assert done.status != 0, f"{program} {' '.join(arguments)} succeeded: {done.said}"
        return done.said

    def rows(self, program: str, *arguments: str) -> list[dict[str, Any]]:
        """A listing as objects."""
        found: list[dict[str, Any]] = json.loads(self.gnt(program, *arguments, "--json"))
        return found

    def instance(self, name: str, *fields: str) -> dict[str, Any]:
        """Fields of one instance."""
        (row,) = self.rows("gnt-instance", "list", "-o", ",".join(fields), name)
        return row

    def instances(self) -> list[str]:
        return [row["name"] for row in self.rows("gnt-instance", "list", "-o", "name")]

    def status(self) -> dict[str, Any]:
        """``gantry local status --json``."""
        found: dict[str, Any] = json.loads(self.local("status", "--json", check=False).stdout)
        return found

    def pid(self, role: str, number: int = 1) -> int | None:
        """A daemon's process."""
        pid: int | None = self.status()["nodes"][number - 1][f"{role}_pid"]
        return pid

    def kill(self, role: str, number: int = 1) -> int:
        """``kill -9`` a daemon and wait for its end."""
        pid = self.pid(role, number)
        assert pid is not None, f"the {role} of node{number} does not run"
        kill(pid)
        return pid

    def add(self, name: str, *arguments: str, node: int = 1) -> None:
        """A small instance."""
        self.gnt(
            "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", f"node{node}",
            "-B", "memory=32M", "--no-nics", *arguments, name,
        )  # fmt: skip

    def remove_all(self) -> None:
        """No instance is left, whatever a test did."""
        for name in self.instances():
            self.try_gnt("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)

    def hook(self, directory: str, script: str, text: str, nodes: tuple[int, ...] = (1,)) -> None:
        """Put a hook script onto nodes."""
        for number in nodes:
            file = self.root(number) / "etc/ganeti/hooks" / directory / script
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("#!/bin/sh\n" + text)
            file.chmod(0o755)

    def no_hooks(self) -> None:
        """All hook scripts are gone."""
        for hooks in self.directory.glob("node*/etc/ganeti/hooks"):
            shutil.rmtree(hooks)
            hooks.mkdir()

    def os_definition(self, name: str, create: str, nodes: tuple[int, ...] = (1, 2, 3)) -> None:
        """An OS definition like ``noop``, with a create script of its own."""
        for number in nodes:
            place = self.root(number) / "srv/ganeti/os" / name
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(self.root(number) / "srv/ganeti/os/noop", place)
            (place / "create").write_text("#!/bin/sh\n" + create)
            (place / "create").chmod(0o755)
        self.try_gnt("gnt-os", "diagnose")  # the nodes look again
        if nodes == (1, 2, 3):
            eventually(f"OS {name} is known", lambda: name in self.gnt("gnt-os", "list").split())

    def no_definitions(self) -> None:
        """Only the OS definitions that come with Gantry are left."""
        for place in self.directory.glob("node*/srv/ganeti/os/*"):
            if not (SHIPPED / place.name).exists() and not place.is_symlink():
                shutil.rmtree(place)


def kill(pid: int) -> None:
    """``kill -9`` and wait for the end of a process that is no child of ours."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    eventually(f"process {pid} ends", lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Whether a process runs (remains that nobody has fetched do not count)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def processes_below(directory: Path) -> list[str]:
    """Command lines of processes that name something below ``directory``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(directory) in line:
                found.append(line)
    return found


def _run(argv: list[str], environment: dict[str, str], timeout: float) -> Done:
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for Unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix="gantry-e2e-", dir="/tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def local_cluster(*arguments: str) -> Iterator[Cluster]:
    """A cluster that is up, and is gone afterwards with every process."""
    with short_directory() as directory:
        cluster = Cluster(directory)
        try:
            cluster.local("up", *arguments)
            yield cluster
        finally:
            done = cluster.local("down", check=False)
            left = processes_below(directory)
        assert done.status == 0, done.said
        assert not left, left
