"""A network that is cut without a word, as the kernel tells of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support.cluster import eventually
from tests.support.namespaces import Machine, machines

pytestmark = [pytest.mark.namespaces, pytest.mark.root]
LISTENS = """
import socket, sys
with socket.create_server((sys.argv[1], 4711), family=int(sys.argv[2])) as server:
    print("ready", flush=True)
    connection, _ = server.accept()
    while sys.argv[3] == "reads" and connection.recv(65536):
        pass
    sys.stdin.read()
"""
SENDS = """
import ipaddress, socket, sys
from gantry.host.signs_of_life import unanswered
with socket.create_connection((sys.argv[1], 4711)) as connection:
    connection.settimeout(0.2)
    for line in sys.stdin:
        try:
            for _ in range(0 if line == "look\\n" else 200):
                connection.send(bytes(65536))
        except TimeoutError:
            pass
        print(unanswered(sys.argv[1], 4711), unanswered(sys.argv[1], 4712), flush=True)
"""


class Ends:
    def __init__(self, pair: list[Machine], address: str, manner: str) -> None:
        first, self.other = pair
        family = str(int(socket.AF_INET6 if ":" in address else socket.AF_INET))
        self.listens = self._run(self.other, LISTENS, address, family, manner)
        assert self.listens.stdout is not None
        assert self.listens.stdout.readline() == b"ready\n"
        self.sends = self._run(first, SENDS, address)

    @staticmethod
    def _run(machine: Machine, text: str, *arguments: str) -> subprocess.Popen[bytes]:
        argv = ["ip", "netns", "exec", machine.namespace, sys.executable, "-c", text, *arguments]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def unanswered(self, what: str = "look") -> bool:
        """After sending as much as can be, or after just a look."""
        assert self.sends.stdin is not None
        assert self.sends.stdout is not None
        self.sends.stdin.write(f"{what}\n".encode())
        self.sends.stdin.flush()
        this, other = self.sends.stdout.readline().split()
        assert other == b"False"
        return this == b"True"

    def close(self) -> None:
        for process in (self.sends, self.listens):
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Machine]]:
    with machines(2) as made:
        yield made


@contextmanager
def between(pair: list[Machine], address: str, manner: str) -> Iterator[Ends]:
    made = Ends(pair, address, manner)
    try:
        yield made
    finally:
        made.other.heal()
        made.close()


def test_a_program_that_takes_its_time_to_read_has_answered(pair: list[Machine]) -> None:
    with between(pair, pair[1].address, "reads nothing") as ends:
        ends.unanswered("send")
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert not ends.unanswered(), "it says that it has no room"
            time.sleep(0.1)


@pytest.mark.parametrize("version", [4, 6])
def test_a_network_that_is_cut_is_seen(pair: list[Machine], version: int) -> None:
    address = pair[1].address
    if version == 6:
        address = "fd00::2"
        for one in pair:
            subprocess.run(
                ["ip", "-n", one.namespace, "address", "add", f"fd00::{one.number}/64", "dev",
                 "eth0", "nodad"], check=True,
            )  # fmt: skip
    with between(pair, address, "reads") as ends:
        assert not ends.unanswered("send")
        ends.other.cut()
        eventually("it is seen", lambda: ends.unanswered("send"))
        ends.other.heal()
        eventually("it is well again", lambda: not ends.unanswered())
