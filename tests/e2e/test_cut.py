"""A node is cut off without a word, and is back: what listings say, and how soon."""

import time
from collections.abc import Callable

import pytest
from tests.support.namespaces import Machine, machines

from gantry.client.connection import Connection

pytestmark = [pytest.mark.namespaces, pytest.mark.root]
WEB = "web1.example.com"
LOADED = 3.0
"""Seconds more than promised: other tests may have the processors."""


def _status(master: Machine) -> str:
    answer = Connection(str(master.root)).get("query/instance", fields="status", names=WEB)
    return str(answer["rows"][0][0])


def _until(right: Callable[[], bool], limit: float) -> float:
    began = time.monotonic()
    while not right():
        assert time.monotonic() - began < limit
        time.sleep(0.05)
    return time.monotonic() - began


def test_live_states_are_right_again_soon_after_a_node_was_cut_off() -> None:
    with machines(2) as (first, second):
        first.must(
            "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
            "--enabled-hypervisors", "fake", "--no-name-check", "--no-ip-check",
            "cluster.example.com",
        )  # fmt: skip
        first.start("agent")
        first.start("master")
        token = first.must("gantry", "token", second.name)
        second.must("gantry", "join", "--address", second.address, stdin=token)
        second.start("agent")
        first.must("gnt-node", "add", second.name)
        first.must(
            "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", second.name,
            "-B", "memory=32M", "--no-nics", WEB,
        )  # fmt: skip
        assert _status(first) == "running"
        second.cut()
        took = _until(lambda: _status(first) == "ERROR_nodedown", 12 + LOADED)
        assert took > 5, "a short hiccup is no lost node"
        # Long enough for attempts of the kernel to have become rare.
        time.sleep(9)
        second.heal()
        _until(lambda: _status(first) == "running", 2 + LOADED)
        first.must("gnt-instance", "stop", WEB)
        first.must("gnt-cluster", "verify")
