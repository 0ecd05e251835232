"""Three machines that share nothing but a wire, and guests with disks mirrored between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.redundancy import guest, inside
from tests.redundancy.watching import Watch
from tests.support.cluster import Done, eventually
from tests.support.fleet import Fleet
from tests.support.guest_kernel import GuestKernel
from tests.support.namespaces import definitions
from tests.support.oob import write_oob_program

SIZE = "16M"
ROOM = "400M"
"""Of all that is on a node."""
DAEMON = "qemu-storage-daemon"
QEMU = "qemu-system"
FILLER = "filler"
POWER = "/usr/local/sbin/power"
_POWER = """#!/bin/sh
# Ends all that runs on a machine: a network namespace, whose name ends with its number.
number="${2%%.*}"
number="${number#node}"
namespace="@-$number"
case $1 in
  power-on) ;;
  power-off) for pid in $(ip netns pids "$namespace"); do kill -9 "$pid"; done ;;
  power-status)
    [ -n "$(ip netns pids "$namespace")" ] && on=true || on=false
    echo '{"powered": '$on'}' ;;
  *) exit 1 ;;
esac
"""
CALM = 240.0
"""Seconds until all is as it should be again, on a busy machine."""
COMMAND = 120.0
LINES = 8
"""Of each daemon's log, in the message of a round that failed."""
WIDTH = 240
"""Characters of each of these lines."""


class Rig:
    """The machines, their daemons, the guests."""

    PLACES: Mapping[str, str] = {"w1.example.com": "node1:node2", "w2.example.com": "node2:node3"}
    """The guests that are made, and the nodes of their disks."""
    TEMPLATES = "mirror,diskless"
    """Of disks."""
    calms = CALM
    """Seconds until all is as it should be again."""
    commands = COMMAND
    """Seconds for a command."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.guests: dict[str, str] = {}
        """Their uuids, by name."""
        self.watch = Watch(fleet, {})
        """Of the round that goes on."""
        self._boot: tuple[str, ...] = ()

    def make(self, kernel: GuestKernel, directory: Path) -> None:
        """A cluster with its state on node 1, and the guests, running."""
        self._boot = self.parameters(kernel, directory)
        self.prepare()
        first = self.fleet.machine(1)
        first.must(
            "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
            "--enabled-hypervisors", "kvm", "--enabled-disk-templates", self.TEMPLATES,
            "--no-name-check", "--no-ip-check", "-C", "1", "cluster.example.com",
        )  # fmt: skip
        self.fleet.daemon("agent", 1).start()
        self.fleet.daemon("master", 1).start()
        for number in self.fleet.numbers[1:]:
            self._join(number)
        for number in self.fleet.numbers[1:]:
            service = self.fleet.daemon("agent", number)
            assert service.serves(), f"{service.name} does not serve:\n{service.said()}"
            first.must("gnt-node", "add", self.fleet.machine(number).name)
        self.wire_power()
        for name, place in self.PLACES.items():
            done = self.add(name, place)
            assert done.status == 0, done.said
        self.know()

    def parameters(self, kernel: GuestKernel, directory: Path) -> tuple[str, ...]:
        """What guests are made with, as a command's options; their files are in ``directory``."""
        initrd = guest.build(kernel, directory)
        parameters = {
            "kernel_path": str(kernel.kernel),
            "initrd_path": str(initrd),
            "kernel_args": guest.ARGUMENTS,
            "root_path": "",
        }
        boot = ",".join(f"{name}={value}" for name, value in parameters.items())
        return ("-o", "noop", "-B", "memory=96M", "-H", f"kvm:{boot}")

    def wire_power(self) -> None:
        """The cluster has a program that switches its nodes' power."""
        first = self.fleet.machine(1)
        prefix = first.namespace.rpartition("-")[0]
        write_oob_program(first.root / POWER.lstrip("/"), _POWER.replace("@", prefix))
        first.must("gnt-cluster", "modify", "--node-parameters", f"oob_program={POWER}")

    def new_watch(self) -> Watch:
        """Of a round that begins."""
        return Watch(self.fleet, self.guests)

    def add(self, name: str, place: str, more: str = "") -> Done:
        """A further guest, mirrored between two nodes; ``more`` is said of its disk."""
        return self.run(
            "gnt-instance", "add", "-t", "mirror", "--disk", f"0:size={SIZE}{more}",
            "-n", place, "--no-nics", *self._boot, name,
        )  # fmt: skip

    def know(self) -> None:
        """All guests that there are."""
        self.guests = {row["name"]: row["uuid"] for row in self.rows("name,uuid") or ()}

    def prepare(self) -> None:
        """All of each machine is on a small file system."""
        for machine in self.fleet.machines:
            self.fleet.small_disk(machine.root, ROOM)
            definitions(machine.root)

    def begin(self) -> None:
        """A fault comes soon."""

    def close(self) -> None:
        """Nothing runs any more."""
        self.kill_every(self.fleet.numbers)

    def _join(self, number: int) -> None:
        first, new = self.fleet.machine(1), self.fleet.machine(number)
        token = first.must("gantry", "token", new.name)
        new.must("gantry", "join", "--address", new.address, stdin=token)
        self.start_agent(number)

    def start_agent(self, number: int) -> None:
        """The first time, of a machine that has just joined; it is not waited for."""
        self.fleet.daemon("agent", number).start(wait=False)

    def run(self, program: str, *arguments: str, timeout: float | None = None) -> Done:
        """A command on the master's node."""
        limit = self.commands if timeout is None else timeout
        return self.fleet.machine(1).run(program, *arguments, timeout=limit)

    def rows(self, fields: str) -> list[dict[str, Any]] | None:
        """A listing of instances; None where nobody answers now."""
        done = self.run("gnt-instance", "list", "--json", "-o", fields)
        return json.loads(done.stdout) if done.status == 0 else None

    def node_of(self, name: str) -> int:
        """The machine of a guest's primary node."""
        return self.places(name)[0]

    def places(self, name: str) -> list[int]:
        """Its primary and secondary nodes' machines."""

        def look() -> list[int]:
            for row in self.rows("name,pnode,snodes") or ():
                if row["name"] == name:
                    snodes = row["snodes"]
                    several = snodes.split(",") if isinstance(snodes, str) else snodes
                    return [number_of(one) for one in (row["pnode"], *several) if one]
            return []

        return eventually(f"the nodes of {name}", look, timeout=self.calms)

    def calm(self) -> None:
        """Wait until every node is heard, every job has ended, and every disk is in sync."""
        self.fleet.all_serve()
        try:
            eventually("all is calm", lambda: not self._unrest(), timeout=self.calms)
        except AssertionError as error:
            raise AssertionError(f"{error}: {'; '.join(self._unrest())}") from None

    def why(self) -> str:
        """What an operator would look at first."""
        nodes = self.run("gnt-node", "list", "-o", "name,offline,dtotal")
        instances = self.run(
            "gnt-instance", "list", "-o", "name,pnode,snodes,status,disk.redundancy"
        )
        jobs = self.run("gnt-job", "list").said.splitlines()
        return "\n".join([nodes.said, instances.said, *jobs[-LINES:], self.last_words()])

    def last_words(self) -> str:
        """The ends of the daemons' logs; of guests only what is not an acknowledgement."""
        found = list[str]()
        for machine in self.fleet.machines:
            logs = machine.root / "var/log/gantry"
            for log in (*sorted(logs.glob("*.log")), *sorted(logs.glob("console/*.log"))):
                lines = log.read_text(errors="replace").splitlines()
                told = [line[:WIDTH] for line in lines if not line.startswith("ACK ")]
                found += [f"{machine.name} {log.name}:", *told[-LINES:]]
        return "\n".join(found)

    def _unrest(self) -> list[str]:
        """What is not as it should be."""
        nodes = self.run("gnt-node", "list", "--json", "-o", "name,dtotal,offline")
        jobs = self.run("gnt-job", "list", "--json", "-o", "id,status,summary")
        instances = self.rows("name,status")
        if nodes.status or jobs.status or instances is None:
            return ["the master does not answer"]
        ended = ("success", "error", "canceled")
        return [
            *(
                f"{row['name']} is away"
                for row in json.loads(nodes.stdout)
                if row["dtotal"] is None
            ),
            *(
                f"job {row['id']} ({row['summary']}) is {row['status']}"
                for row in json.loads(jobs.stdout)
                if row["status"] not in ended
            ),
            *(
                f"{row['name']} is {row['status']}"
                for row in instances
                if row["status"] != "running"
            ),
            *(
                f"{name} is not in sync: {self.replicas(name)}"
                for name in self.guests
                if not self.in_sync(name)
            ),
        ]

    def in_sync(self, name: str) -> bool:
        """Whether all replicas of its disks are, by the cluster's state, and there are two."""
        states = [state for one in self.replicas(name) for state in one.values()]
        return len(states) >= 2 and set(states) == {"primary", "in-sync"}

    def replicas(self, name: str) -> list[dict[int, str]]:
        """Of each disk the states by machine."""
        return [
            {number_of(one["node"]): one["state"] for one in disk["replicas"]}
            for disk in self._disks(name)
        ]

    def numbers(self, name: str) -> dict[int, int]:
        """The ids of the replicas of its only disk, by machine."""
        [disk] = self._disks(name)
        return {number_of(one["node"]): one["id"] for one in disk["replicas"]}

    def _disks(self, name: str) -> list[dict[str, Any]]:
        disks: list[dict[str, Any]] = self.information(name).get("disks", [])
        return disks

    def information(self, name: str) -> dict[str, Any]:
        """Everything about a guest; empty where nobody answers now."""
        done = self.run("gnt-instance", "info", "--json", name)
        if done.status:
            return {}
        [found] = json.loads(done.stdout)
        information: dict[str, Any] = found
        return information

    def contents(self, name: str) -> list[str]:
        """Digests of the replicas of its only disk, on all machines that have one."""
        found = (inside.digest(str(file)) for file in self.files(name).values())
        return [one for one in found if one is not None]

    def files(self, name: str) -> dict[int, Path]:
        """Where a replica of its only disk is on each machine."""
        [disk] = self._disks(name)
        path = str(disk["path"]).lstrip("/")
        return {one.number: one.root / path for one in self.fleet.machines}

    def kill_all(self, number: int) -> None:
        """Nothing runs on that machine any more, and nothing is started again."""
        self.kill_every([number])

    def kill_every(self, numbers: Sequence[int]) -> None:
        """Nor on these."""
        for service in (one for number in numbers for one in self.fleet.every(number)):
            service.stop(signal.SIGKILL)
        for number in numbers:
            for pid in self.processes(number):
                kill(pid)
        for number in numbers:
            self._is_dead(number)

    def _is_dead(self, number: int) -> None:
        eventually("all is dead", lambda: not self.processes(number), timeout=20)

    def come_back(self, number: int) -> None:
        """Its daemons are started again."""
        for service in self.fleet.every(number):
            service.start(wait=False)

    def runs_on(self, number: int, names: Iterable[str]) -> list[int]:
        """The processes of these guests on a machine."""
        uuids = [self.guests[name] for name in names]
        return [
            pid
            for pid in self.processes(number, QEMU)
            if any(_is_about(pid, uuid) for uuid in uuids)
        ]

    def fill(self, number: int) -> None:
        """No room is left on a machine."""
        root = self.fleet.machine(number).root
        with suppress(OSError), (root / FILLER).open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()

    def make_room(self) -> None:
        """There is room on every machine."""
        for machine in self.fleet.machines:
            (machine.root / FILLER).unlink(missing_ok=True)

    def processes(self, number: int, program: str = "") -> list[int]:
        """What runs on a machine, of one program or of all."""
        namespace = self.fleet.machine(number).namespace
        argv = ["ip", "netns", "pids", namespace]
        listed = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20)
        return [pid for pid in map(int, listed.stdout.split()) if _is(pid, program)]


def kill(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal; one that is gone has no need of it."""
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return


def _is(pid: int, program: str) -> bool:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    # A process that has ended and was not waited for has no arguments any more.
    return bool(argv[0]) and program.encode() in argv[0]


def _is_about(pid: int, uuid: str) -> bool:
    try:
        return uuid.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def number_of(node: str) -> int:
    """The machine of a node's name."""
    return int(node.removeprefix("node").partition(".")[0])


def others(numbers: Sequence[int], than: int) -> list[int]:
    """All but one."""
    return [one for one in numbers if one != than]
