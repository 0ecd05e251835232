"""The network between two nodes is cut without a word while a disk goes from one to the other."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.support.cluster import eventually
from tests.support.namespaces import Machine, machines

pytestmark = [pytest.mark.namespaces, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(300)]
WEB = "web1.example.com"
SPOKEN = 110.0
"""Seconds in which the job has failed: a minute of silence, and what undoing takes."""


def _slow(machine: Machine) -> None:
    """It sends no more than 2 MB a second."""
    subprocess.run(
        ["ip", "netns", "exec", machine.namespace, "tc", "qdisc", "add", "dev", "eth0", "root",
         "tbf", "rate", "16mbit", "burst", "32k", "latency", "200ms"], check=True,
    )  # fmt: skip


@pytest.mark.parametrize("compress", ["none", "gzip-fast"])
def test_the_job_fails_and_says_why_and_a_second_try_works(compress: str) -> None:
    with machines(3) as (first, second, third):
        first.must(
            "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
            "--enabled-hypervisors", "fake", "--no-name-check", "--no-ip-check",
            "cluster.example.com",
        )  # fmt: skip
        first.start("agent")
        first.start("master")
        for other in (second, third):
            token = first.must("gantry", "token", other.name)
            other.must("gantry", "join", "--address", other.address, stdin=token)
            other.start("agent")
            first.must("gnt-node", "add", other.name)
        first.must(
            "gnt-instance", "add", "-t", "file", "-s", "64M", "--no-install", "-n", second.name,
            "-B", "memory=32M", "--no-nics", "--no-start", WEB,
        )  # fmt: skip
        [disk] = (second.root / "srv/ganeti/file-storage").glob(f"{WEB}/*")
        disk.write_bytes(os.urandom(64 << 20))
        _slow(second)
        export = ("gnt-backup", "export", "-n", third.name, "--transport-compression", compress)
        job = first.must(*export, "--submit", WEB).split()[-1]
        new = third.root / "var/lib/ganeti/export"
        eventually("bytes come", lambda: any(_kept(path) for path in new.glob(f".{WEB}.new/*-*")))
        third.cut()
        began = time.monotonic()
        first.run("gnt-job", "wait", job, timeout=SPOKEN)
        assert time.monotonic() - began < SPOKEN
        [found] = json.loads(first.must("gnt-job", "info", "--json", job))
        assert found["status"] == "error"
        assert f"nothing has reached node {third.name} for 60 s" in json.dumps(found)
        third.heal()
        eventually("nothing half is left", lambda: not list(new.glob(".*")), timeout=90)
        subprocess.run(
            ["ip", "netns", "exec", second.namespace, "tc", "qdisc", "del", "dev", "eth0", "root"],
            check=True,
        )
        again = ("gnt-cluster", "verify")
        eventually("all is well", lambda: first.run(*again).status == 0, timeout=60)
        first.must(*export, WEB)


def _kept(path: Path) -> int:
    return path.stat().st_blocks
