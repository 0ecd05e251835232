"""The network between two nodes is cut without a word while a disk goes from one to the other."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest
from tests.support.cluster import eventually
from tests.support.namespaces import Machine, machines

from gantry.model import timeouts

pytestmark = [pytest.mark.namespaces, pytest.mark.root]
WEB = "web1.example.com"
QUICK: Final = 6.0
"""Seconds of silence that are enough in the daily test; it heals the network once they are told."""
SPOKEN = 50.0
"""Seconds in which the job has failed, once nobody waits any more: what undoing takes."""


def _slow(machine: Machine) -> None:
    """It sends no more than 2 MB a second."""
    _shape(machine, "add", "tbf", "rate", "16mbit", "burst", "32k", "latency", "200ms")


def _shape(machine: Machine, verb: str, *how: str) -> None:
    begin = ["ip", "netns", "exec", machine.namespace, "tc", "qdisc", verb, "dev", "eth0", "root"]
    subprocess.run([*begin, *how], check=True)


@pytest.mark.parametrize(
    ("compress", "silence"),
    [
        ("gzip-fast", QUICK),
        pytest.param("none", timeouts.TRANSFER_SILENCE, marks=pytest.mark.long),
        pytest.param("gzip-fast", timeouts.TRANSFER_SILENCE, marks=pytest.mark.long),
    ],
)
def test_the_job_fails_and_says_why_and_a_second_try_works(compress: str, silence: float) -> None:
    with machines(2) as (first, second):
        first.must(
            "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
            "--enabled-hypervisors", "fake", "--no-name-check", "--no-ip-check",
            "cluster.example.com",
        )  # fmt: skip
        first.start("agent", TRANSFER_SILENCE=silence)
        first.start("master")
        token = first.must("gantry", "token", second.name)
        second.must("gantry", "join", "--address", second.address, stdin=token)
        second.start("agent", TRANSFER_SILENCE=silence)
        first.must("gnt-node", "add", second.name)
        first.must(
            "gnt-instance", "add", "-t", "file", "-s", "64M", "--no-install", "-n", first.name,
            "-B", "memory=32M", "--no-nics", "--no-start", WEB,
        )  # fmt: skip
        [disk] = (first.root / "srv/ganeti/file-storage").glob(f"{WEB}/*")
        disk.write_bytes(os.urandom(64 << 20))
        _slow(first)
        export = ("gnt-backup", "export", "-n", second.name, "--transport-compression", compress)
        job = first.must(*export, "--submit", WEB).split()[-1]
        new = second.root / "var/lib/ganeti/export"
        eventually("bytes come", lambda: any(_kept(path) for path in new.glob(f".{WEB}.new/*-*")))
        second.cut()
        began = time.monotonic()
        wanted = f"nothing has reached node {second.name} for {silence:g} s"
        if silence == QUICK:
            eventually(
                "the job says why", lambda: wanted in first.must("gnt-job", "info", job), SPOKEN
            )
            second.heal()
        first.run("gnt-job", "wait", job, timeout=silence + SPOKEN)
        assert time.monotonic() - began < silence + SPOKEN
        [found] = json.loads(first.must("gnt-job", "info", "--json", job))
        assert found["status"] == "error"
        assert wanted in json.dumps(found)
        second.heal()
        eventually("nothing half is left", lambda: not list(new.glob(".*")))
        _shape(first, "del")
        again = ("gnt-cluster", "verify")
        eventually("all is well", lambda: first.run(*again).status == 0)
        first.must(*export, WEB)


def _kept(path: Path) -> int:
    return path.stat().st_blocks
