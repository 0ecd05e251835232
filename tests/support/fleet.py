"""Machines that can be cut off from each other, and daemons that are ended, frozen and kept up.

Each machine is a network namespace with a root of its own; its daemons are kept running as an
init system would, so a round only has to break things. Needs root.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.cluster import eventually
from tests.support.namespaces import Machine, gantry, machines

NOBODY = "02:00:00:00:00:ff"
"""The address of a network card that no machine has: what is sent there is lost silently."""
RESTART = 0.3
"""Seconds after which a daemon that ended is started again."""
START = 60.0
"""Seconds that a daemon may take to say that it serves, on a busy machine."""


DISK = "400m"
"""Of a member of etcd, which makes two files of 64 MiB before anything else."""


class Service:
    """One daemon of one machine, started again whenever it ends by itself."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: Path,
        patience: float = START,
    ) -> None:
        self.name = name
        self.patience = patience
        self.argv = list(argv)
        self.environment = dict(environment)
        self.log = log
        self.starts = 0
        self.ends: list[int] = []
        self._wanted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()
        self._asleep = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        with self._lock:
            process = self._process
            return process.pid if process is not None and process.poll() is None else None

    def start(self, *, wait: bool = True) -> None:
        """Run it, and keep it running; ``wait`` until it says that it serves."""
        assert self._thread is None or not self._thread.is_alive()
        self._wanted = True
        self._ready.clear()
        self._asleep.clear()
        self._thread = threading.Thread(target=self._keep, daemon=True, name=self.name)
        self._thread.start()
        if wait:
            assert self.serves(), f"{self.name} does not serve:\n{self.said()}"

    def serves(self, patience: float | None = None) -> bool:
        """Wait until the process that runs has said that it serves; False where it does not."""
        return self._ready.wait(self.patience if patience is None else patience)

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; False where it does not run just now."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                return False
            self._process.send_signal(number)
            return True

    def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = 40.0) -> None:
        """End it, in order unless ``how`` says otherwise, and leave it so."""
        self._wanted = False
        self._asleep.set()
        self.send(signal.SIGCONT)
        self.send(how)
        if self._thread is not None:
            self._thread.join(patience)
            if self._thread.is_alive():
                self.send(signal.SIGABRT)
                self._thread.join()
                raise AssertionError(
                    f"{self.name} did not end within {patience:g} s:\n{self.said()}"
                )

    def leave(self) -> None:
        """Once it ends, it is not started again."""
        self._wanted = False
        self._asleep.set()

    def said(self) -> str:
        """The end of what it wrote to standard error."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def _keep(self) -> None:
        while self._wanted:
            status = self._once()
            self.ends.append(status)
            if self._wanted:
                self._asleep.wait(RESTART)

    def _once(self) -> int:
        ready, inherited = os.pipe()
        argv = [one.format(ready=inherited) for one in self.argv]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                env=self.environment,
                pass_fds=[inherited],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(inherited)
        self.starts += 1
        self._ready.clear()
        with self._lock:
            self._process = process
        if not self._wanted:
            process.terminate()
        try:
            # The daemon closes its end when it ends, at the latest.
            if os.read(ready, 100):
                self._ready.set()
        finally:
            os.close(ready)
        status = process.wait()
        self._ready.clear()
        return status


class Fleet:
    """Machines with their services; what is cut between them."""

    def __init__(self, made: list[Machine], directory: Path) -> None:
        self.machines = made
        self.directory = directory
        self.services: dict[tuple[str, int], Service] = {}
        self.timeouts: Mapping[str, float] = {}
        """Of its daemons, where they are other than usual."""
        self._cuts: set[tuple[int, int]] = set()
        self._mounts: list[Path] = []

    def machine(self, number: int) -> Machine:
        """From 1."""
        return self.machines[number - 1]

    @property
    def numbers(self) -> list[int]:
        """Of all machines."""
        return [machine.number for machine in self.machines]

    def daemon(self, role: str, number: int) -> Service:
        """The agent or the master of a machine; made when first asked for."""
        if (role, number) not in self.services:
            machine = self.machine(number)
            argv = [*machine.inside, *gantry(self.timeouts), role, "--ready-fd", "{ready}"]
            at = argv.index("-I") + 1
            # Where one hangs, it is made to say where.
            argv[at:at] = ["-X", "faulthandler"]
            log = machine.root / f"{role}.err"
            self.services[role, number] = Service(
                f"{role} of node{number}", argv, machine.environment(), log=log
            )
        return self.services[role, number]

    def every(self, number: int) -> list[Service]:
        """All services of a machine."""
        return [one for (_, machine), one in self.services.items() if machine == number]

    # The wire

    def cut(self, source: int, target: int) -> None:
        """What ``source`` sends to ``target`` does not arrive any more."""
        if (source, target) not in self._cuts:
            self._cuts.add((source, target))
            self._neighbour(source, "replace", target, "lladdr", NOBODY, "nud", "permanent")

    def mend(self, source: int, target: int) -> None:
        """It arrives again."""
        if (source, target) in self._cuts:
            self._cuts.discard((source, target))
            self._neighbour(source, "del", target)

    def part(self, some: Iterable[int], others: Iterable[int]) -> None:
        """Nothing passes between the two groups."""
        for one, other in itertools.product(some, others):
            self.cut(one, other)
            self.cut(other, one)

    def mend_all(self) -> None:
        """All machines reach each other."""
        for source, target in tuple(self._cuts):
            self.mend(source, target)

    def all_serve(self) -> None:
        """Wait until every agent and master that is kept running says that it serves."""
        for (role, _), service in self.services.items():
            if role != "etcd":
                assert service.serves(), f"{service.name} does not serve:\n{service.said()}"

    def thaw_all(self) -> None:
        """Nothing is frozen."""
        for service in self.services.values():
            service.send(signal.SIGCONT)

    def _neighbour(self, source: int, verb: str, target: int, *words: str) -> None:
        argv = ["ip", "-n", self.machine(source).namespace, "neigh", verb]
        argv += [self.machine(target).address, "dev", "eth0", *words]
        subprocess.run(argv, check=True, capture_output=True, timeout=100)

    def small_disk(self, place: Path, size: str) -> None:
        """An empty file system of that size, such as ``300m``, in memory."""
        place.mkdir(mode=0o700, exist_ok=True)
        options = f"size={size},mode=700"
        argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        subprocess.run(argv, check=True, timeout=100)
        self._mounts.append(place)

    def close(self) -> None:
        """End everything; a service that cannot be ended in order is told of at the end."""
        self.mend_all()
        self.thaw_all()
        problems = []
        order = ("master", "agent", "etcd")
        for (_role, _), service in sorted(
            self.services.items(), key=lambda item: order.index(item[0][0])
        ):
            try:
                service.stop()
            except AssertionError as error:
                problems.append(str(error))
        for place in self._mounts:
            subprocess.run(["umount", place], check=True, timeout=100)
        assert not problems, problems


@contextmanager
def fleet(count: int) -> Iterator[Fleet]:
    """So many machines; no daemon runs yet."""
    with machines(count) as made:
        found = Fleet(made, made[0].root.parent)
        try:
            yield found
        finally:
            found.close()


# etcd


def etcd(where: Fleet, members: Sequence[int]) -> list[str]:
    """Start a member on each of these machines; the URLs of their client ports."""
    assert shutil.which("etcd"), "etcd-server is missing: packaging/install-debian-packages"
    whole = ",".join(f"m{one}=http://{where.machine(one).address}:2380" for one in members)
    for number in members:
        machine = where.machine(number)
        where.small_disk(machine.root / "etcd", DISK)
        client, peer = f"http://{machine.address}:2379", f"http://{machine.address}:2380"
        argv = [
            "ip", "netns", "exec", machine.namespace, "etcd", "--name", f"m{number}",
            "--data-dir", str(machine.root / "etcd/data"), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", whole,
            "--initial-cluster-token", "rounds", "--log-level", "error",
        ]  # fmt: skip
        service = Service(
            f"etcd of node{number}",
            argv,
            {"PATH": "/usr/bin:/bin", "ETCD_UNSUPPORTED_ARCH": ""},
            log=machine.root / "etcd.err",
        )
        where.services["etcd", number] = service
        service.start(wait=False)
    for number in members:
        eventually(
            f"the etcd member of node{number} serves",
            lambda: etcd_healthy(where, number),  # noqa: B023
            timeout=START,
        )
    return [f"http://{where.machine(one).address}:2379" for one in members]


def etcd_healthy(where: Fleet, number: int) -> bool:
    """Whether the member there takes part in a majority."""
    machine = where.machine(number)
    argv = ["ip", "netns", "exec", machine.namespace, "etcdctl", "--command-timeout=2s"]
    argv += [f"--endpoints=http://{machine.address}:2379", "endpoint", "health"]
    done = subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin", "ETCDCTL_API": "3"}, capture_output=True, timeout=100
    )
    return done.returncode == 0
