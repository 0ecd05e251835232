"""A silent node, and a program that takes its power: its guests run elsewhere, and only then."""

from __future__ import annotations

import os
import signal

from tests.support.cluster import Cluster, eventually
from tests.support.oob import write_oob_program

PROGRAM = """#!/bin/sh
# Ends whatever has been started for a node of this local cluster.
root="${GANTRY_ROOT%/*}/${2%%.*}"
found() {
  for process in /proc/[0-9]*; do
    line=$(tr '\\0' ' ' < "$process/cmdline" 2>/dev/null)
    case $line in *"$root/"*|*"$root "*) echo "${process#/proc/}" ;; esac
  done
}
case $1 in
  power-off) kill -9 $(found) 2>/dev/null; exit 0 ;;
  power-status) [ -n "$(found)" ] && on=true || on=false; echo '{"powered": '$on'}' ;;
  *) exit 1 ;;
esac
"""


def where(cluster: Cluster) -> tuple[str, str]:
    row = cluster.instance("fenced", "pnode", "status")
    return row["pnode"], row["status"]


def test_a_silent_nodes_power_is_taken_before_its_guests_run_elsewhere(cluster: Cluster) -> None:
    write_oob_program(cluster.root() / "usr/local/sbin/power", PROGRAM)
    cluster.gnt("gnt-cluster", "modify", "--node-parameters", "oob_program=/usr/local/sbin/power")
    cluster.add("fenced.gantry.test", node=2)
    assert "unpowered" not in cluster.gnt("gnt-node", "power", "status", "--all")
    assert "it runs fenced" in cluster.refused("gnt-node", "power", "off", "-f", "node2")
    trial = ("gnt-node", "power", "off", "--dry-run")
    assert "it runs fenced" in cluster.refused(*trial, "node2")
    for given in (["--ignore-status", "node2"], ["node3"]):
        assert "It was only tried" in cluster.gnt(*trial, *given)
    assert "It was only tried" in cluster.gnt("gnt-cluster", "epo", "--dry-run", "--all")
    agent = cluster.pid("agent", 2)
    assert agent is not None
    assert where(cluster) == ("node2.gantry.test", "running"), "nothing was done"
    os.kill(agent, signal.SIGSTOP)
    eventually("node2 is silent", lambda: where(cluster)[1] == "ERROR_nodedown")
    said = cluster.refused("gnt-instance", "failover", "-f", "-n", "node3", "fenced")
    assert "nothing proves that its guest is dead" in said
    assert "--fence" in said
    said = cluster.refused("gnt-instance", "failover", "--fence", "-n", "node3", "fenced")
    assert "Whatever runs there ends at once (fenced.gantry.test)" in said
    assert cluster.pid("agent", 2) == agent, "nothing was done"
    cluster.gnt("gnt-instance", "failover", "-f", "--fence", "-n", "node3", "fenced")
    assert where(cluster) == ("node3.gantry.test", "running")
    assert cluster.pid("agent", 2) is None
    assert "unpowered" in cluster.gnt("gnt-node", "power", "status", "node2")
    [row] = cluster.rows("gnt-node", "list", "-o", "role,powered", "node2")
    assert row == {"role": "O", "powered": False}
    cluster.local("up")
    assert "recorded as powered off" in cluster.refused("gnt-node", "modify", "-O", "no", "node2")
    cluster.gnt("gnt-node", "modify", "-O", "no", "--node-powered=yes", "node2")
    cluster.gnt("gnt-cluster", "modify", "--node-parameters", "oob_program=default")
    assert where(cluster) == ("node3.gantry.test", "running")
