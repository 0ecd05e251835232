"""A cluster on a fleet: made as an operator would, with one store or the other."""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Sequence
from pathlib import Path

from tests.rounds import hooks
from tests.support.cluster import eventually
from tests.support.fleet import Fleet, etcd

MEMBERS = (1, 2, 3)
"""Machines with a member of etcd, where there is one; their nodes are the master candidates."""


LEASE = 3
"""Seconds after which another candidate takes over."""
ANSWER = 120.0
"""Seconds in which a master answers, whatever was done before."""


class Kept(enum.StrEnum):
    """Where the state is."""

    SQLITE = "sqlite"
    ETCD = "etcd"


class Rig:
    """The fleet, and which of its machines may have the master."""

    def __init__(self, fleet: Fleet, kept: Kept) -> None:
        self.fleet = fleet
        self.kept = kept
        self.candidates: Sequence[int] = MEMBERS
        self.copy: Path | None = None
        """A copy of the state, to be restored by a fault."""
        self.made = 0.0
        """When the last node had come (``time.time()``)."""
        self.told_from = 0
        """Hooks were told of earlier jobs what a state said that is lost."""

    def make(self) -> None:
        """Certificates, state, agents, masters, hooks."""
        first = self.fleet.machine(1)
        store = []
        if self.kept is Kept.ETCD:
            store = ["--store", "etcd=" + ",".join(etcd(self.fleet, MEMBERS))]
        first.must(
            "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
            "--enabled-hypervisors", "fake", "--no-name-check", "--no-ip-check", *store,
            "-C", str(len(self.candidates)), "cluster.example.com",
        )  # fmt: skip
        self.fleet.daemon("agent", 1).start()
        self.fleet.daemon("master", 1).start()
        for number in self.fleet.numbers[1:]:
            self._join(number)
        hooks.put(self.fleet)
        self.made = time.time()
        if self.kept is Kept.ETCD:
            first.must("gnt-cluster", "modify", f"--master-lease={LEASE}")
            # It holds from the next master on.
            self.fleet.daemon("master", 1).stop()
            self.fleet.daemon("master", 1).start()

    def _join(self, number: int) -> None:
        first, new = self.fleet.machine(1), self.fleet.machine(number)
        token = first.must("gantry", "token", new.name)
        new.must("gantry", "join", "--address", new.address, stdin=token)
        self.fleet.daemon("agent", number).start()
        first.must("gnt-node", "add", new.name)
        if number in self.candidates:
            self.fleet.daemon("master", number).start()

    def master(self) -> int:
        """The machine whose master answers now; what a node was told before may be wrong."""

        def look() -> int:
            for machine in self.fleet.machines:
                done = machine.run("gnt-cluster", "master-ping", "--json")
                if done.status == 0:
                    name = str(json.loads(done.stdout)["master"])
                    return int(name.removeprefix("node").partition(".")[0])
            return 0

        return eventually("a master answers", look, timeout=ANSWER)

    def has_copy(self, number: int) -> bool:
        """Whether that node has a copy of the state that knows all nodes."""
        copies = self.fleet.machine(number).root.glob("var/lib/gantry/copies/state-*.sqlite")
        return any(copy.stat().st_mtime > self.made for copy in copies)

    def back_up(self) -> None:
        """Make the copy that a fault restores."""
        machine = self.fleet.machine(self.master())
        self.copy = Path(machine.must("gantry", "state", "backup").split()[-1])
