"""Three machines that share nothing but a wire: init, tokens, joins, an instance, hooks."""

import json

import pytest
from tests.support.cluster import eventually
from tests.support.namespaces import Machine, machines

pytestmark = [pytest.mark.namespaces, pytest.mark.root]
WEB = "web1.example.com"


def _join(master: Machine, new: Machine) -> None:
    token = master.must("gantry", "token", new.name)
    new.must("gantry", "join", "--address", new.address, stdin=token)
    again = new.run("gantry", "join", "--address", new.address, stdin=token)
    assert again.status != 0, "a token lets in once"
    new.start("agent")
    master.must("gnt-node", "add", new.name)


def test_machines_join_over_the_wire_and_run_an_instance() -> None:
    with machines(3) as (first, second, third):
        first.must(
            "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
            "--enabled-hypervisors", "fake", "--no-name-check", "--no-ip-check", "-C", "2",
            "cluster.example.com",
        )  # fmt: skip
        first.start("agent")
        first.start("master")
        _join(first, second)
        _join(first, third)
        rows = json.loads(first.must("gnt-node", "list", "-o", "name,pip", "--json"))
        assert {row["name"]: row["pip"] for row in rows} == {
            machine.name: machine.address for machine in (first, second, third)
        }
        hook = third.root / "etc/ganeti/hooks/instance-add-post.d/10-mark"
        hook.parent.mkdir(parents=True)
        hook.write_text('#!/bin/sh\necho "$GANETI_INSTANCE_NAME" > "$GANTRY_ROOT/mark"\n')
        hook.chmod(0o755)
        roles = json.loads(third.must("gnt-node", "list", "-o", "role", "--json"))
        assert [row["role"] for row in roles] == ["M", "C", "R"]
        # The second one is a candidate, so it may change the cluster; the third may only look.
        second.must(
            "gnt-instance", "add", "-t", "file", "-s", "16M", "-o", "noop", "-n", "node3",
            "-B", "memory=32M", "--no-nics", WEB,
        )  # fmt: skip
        assert (third.root / "mark").read_text() == f"{WEB}\n"
        (row,) = json.loads(first.must("gnt-instance", "list", "-o", "name,status", "--json"))
        assert row == {"name": WEB, "status": "running"}
        assert third.must("gnt-instance", "list") == first.must("gnt-instance", "list")
        refused = third.run("gnt-instance", "stop", "web1")
        assert (refused.status, "no master candidate" in refused.stderr) == (1, True)
        keys = [machine.root / "etc/gantry/pki/ca.key" for machine in (second, third)]
        eventually("the candidate has the CA's key", keys[0].exists)
        assert not keys[1].exists()
        first.must("gnt-node", "remove", "node2")
        eventually("the third is a candidate instead", keys[1].exists)
        assert not keys[0].exists()
        third.must("gnt-instance", "remove", "-f", "web1")
        assert len(json.loads(first.must("gnt-node", "list", "-o", "name", "--json"))) == 2
        gone = second.run("gnt-instance", "list")
        assert (gone.status, "not part of a cluster" in gone.stderr) == (5, True)
        first.daemons[-1].terminate()
        assert first.daemons[-1].wait(100) == 0
        nobody = third.run("gnt-instance", "list")
        assert (nobody.status, f"{first.name} ({first.address} port 5080)" in nobody.stderr) == (
            11,
            True,
        )
