"""Real etcd members on loopback for tests, quick to elect; starting, freezing, killing them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.addresses import own_address

HEARTBEAT_MILLISECONDS = 50
ELECTION_MILLISECONDS = 250
LEASE_SECONDS = 1.0
"""The shortest lease with these timings."""
READY_SECONDS = 60.0


def _free_ports(host: str, count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((host, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Member:
    """One etcd process with its directory; may be started again."""

    def __init__(self, number: int, directory: Path, host: str, scheme: str) -> None:
        self.name = f"etcd{number}"
        self.host = host
        self.data = directory / self.name
        self.log = directory / f"{self.name}.log"
        self.port, self._peer_port = _free_ports(host, 2)
        self.url = f"{scheme}://{host}:{self.port}"
        self.peer_url = f"http://{host}:{self._peer_port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str, arguments: Sequence[str]) -> None:
        """Start the process; it may take seconds until it answers."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    # Nothing is left behind, however the tests end.
                    "setpriv", "--pdeathsig", "KILL",
                    "etcd", "--name", self.name, "--data-dir", str(self.data),
                    "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                    "--listen-peer-urls", self.peer_url,
                    "--initial-advertise-peer-urls", self.peer_url,
                    "--initial-cluster", cluster, "--initial-cluster-state", "new",
                    "--heartbeat-interval", str(HEARTBEAT_MILLISECONDS),
                    "--election-timeout", str(ELECTION_MILLISECONDS),
                    "--logger", "zap", "--log-outputs", "stderr", "--log-level", "error",
                    *arguments,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``; also where it has ended by itself."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Etcd:
    """Some members that are one cluster."""

    def __init__(
        self, directory: Path, count: int, arguments: Sequence[str] = (), scheme: str = "http"
    ) -> None:
        host = own_address()
        self.directory = directory
        self.arguments = list(arguments)
        self.tls: ssl.SSLContext | None = None
        """For the calls of the tests themselves."""
        self.members = [Member(number, directory, host, scheme) for number in range(count)]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(member.url for member in self.members)

    def start(self, *members: Member) -> None:
        """Start those, or all."""
        cluster = ",".join(f"{each.name}={each.peer_url}" for each in self.members)
        for member in members or self.members:
            member.start(cluster, self.arguments)

    def wait_ready(self) -> None:
        """Until every member that runs answers, and knows a leader."""
        deadline = time.monotonic() + READY_SECONDS
        for member in self.members:
            while member.process is not None and not self._healthy(member):
                assert member.process.poll() is None, member.log.read_text()[-2000:]
                assert time.monotonic() < deadline, member.log.read_text()[-2000:]
                time.sleep(0.02)

    def ask(self, member: Member, path: str, request: object) -> dict[str, Any]:
        """One call of the gateway."""
        data = json.dumps(request).encode()
        posted = urllib.request.Request(member.url + path, data=data)
        with urllib.request.urlopen(posted, timeout=5, context=self.tls) as response:
            found: dict[str, Any] = json.loads(response.read())
        return found

    def leader(self) -> Member:
        """Who leads now."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                try:
                    status = self.ask(member, "/v3/maintenance/status", {})
                except OSError:
                    continue
                if status["header"]["member_id"] == status.get("leader"):
                    return member
            time.sleep(0.02)
        raise AssertionError("no leader")

    def followers(self) -> list[Member]:
        leader = self.leader()
        return [each for each in self.members if each is not leader]

    def revoke_leases(self) -> None:
        """End what tests left, lest it ends in the middle of another one."""
        found = self.ask(self.members[0], "/v3/lease/leases", {})
        for lease in found.get("leases", []):
            try:
                self.ask(self.members[0], "/v3/lease/revoke", {"ID": lease["ID"]})
            except urllib.error.HTTPError as error:
                # It has just ended by itself.
                assert error.code == 404

    def end(self) -> None:
        for member in self.members:
            member.kill()

    def _healthy(self, member: Member) -> bool:
        try:
            request = {"key": "AA=="}
            self.ask(member, "/v3/kv/range", request)
        except urllib.error.HTTPError as error:
            # Where there are users, it asks who this is.
            return error.code == 400
        except OSError:
            return False
        return True


@contextmanager
def etcd(count: int = 3, arguments: Sequence[str] = ()) -> Iterator[Etcd]:
    """Members that answer, over plain HTTP; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="gantry-etcd-"))
    made = Etcd(directory, count, arguments)
    try:
        made.start()
        made.wait_ready()
        yield made
    finally:
        made.end()
        shutil.rmtree(directory)
