"""Fail scripts, policy and dry runs of a real cluster, whose master is killed meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually

WEB = "web1.gantry.test"
PRE, FAIL = "instance-start-pre.d", "instance-start-fail.d"
TOLD = 'echo "$GANTRY_ATTEMPT $GANTRY_FAILURE $GANETI_HOOKS_PHASE" >> "$GANTRY_ROOT/run-told"\n'


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    yield
    for path in [*cluster.directory.glob("node*/run-*"), *policies(cluster)]:
        path.unlink(missing_ok=True)


def policies(cluster: Cluster) -> list[Path]:
    return [cluster.root(number) / "etc/ganeti/hooks/hooks.toml" for number in (1, 2, 3)]


def policy(cluster: Cluster, text: str, number: int = 1) -> None:
    path = policies(cluster)[number - 1]
    path.write_text(text)
    path.chmod(0o600)


def told(cluster: Cluster, number: int = 1) -> list[str]:
    path = cluster.root(number) / "run-told"
    return path.read_text().splitlines() if path.exists() else []


def test_a_denied_operation_is_told_to_all_of_its_nodes(cluster: Cluster) -> None:
    cluster.add(WEB, "--no-start", node=2)
    cluster.hook(PRE, "10-no", 'echo "not today"; exit 1\n')
    cluster.hook(FAIL, "50-told", TOLD, (1, 2, 3))
    done = cluster.try_gnt("gnt-instance", "startup", WEB)
    assert done.status == 1 and "not today" in done.said
    assert [told(cluster, number) for number in (1, 2, 3)] == [
        ["1 denied FAIL"],
        ["1 denied FAIL"],
        [],
    ]


def test_a_fail_script_that_runs_while_its_master_is_killed_runs_once(cluster: Cluster) -> None:
    """The next master finds it running, and waits for that one."""
    cluster.add(WEB, "--no-start")
    began, go = cluster.root() / "run-began", cluster.root() / "run-go"
    waits = f"touch {began}\nwhile [ ! -e {go} ]; do sleep 0.05; done\n"
    cluster.hook(PRE, "10-no", "exit 1\n")
    cluster.hook(FAIL, "50-told", TOLD + waits)
    job = cluster.gnt("gnt-instance", "startup", "--submit", WEB).split()[-1]
    eventually("the script begins", began.exists)
    cluster.kill("master")
    cluster.local("up")
    go.touch()
    assert cluster.try_gnt("gnt-job", "wait", job).status == 1
    assert told(cluster) == ["1 denied FAIL"]


def test_a_fail_script_that_ended_while_there_was_no_master_does_not_run_again(
    cluster: Cluster,
) -> None:
    cluster.add(WEB, "--no-start")
    began, go, ended = (cluster.root() / f"run-{name}" for name in ("began", "go", "ended"))
    waits = f"touch {began}\nwhile [ ! -e {go} ]; do sleep 0.05; done\ntouch {ended}\n"
    cluster.hook(PRE, "10-no", "exit 1\n")
    cluster.hook(FAIL, "50-told", TOLD + waits)
    job = cluster.gnt("gnt-instance", "startup", "--submit", WEB).split()[-1]
    eventually("the script begins", began.exists)
    cluster.kill("master")
    go.touch()
    eventually("the script ends", ended.exists)
    cluster.local("up")
    assert cluster.try_gnt("gnt-job", "wait", job).status == 1
    assert told(cluster) == ["1 denied FAIL"]


def test_a_fail_script_whose_agent_is_killed_runs_again(cluster: Cluster) -> None:
    cluster.add(WEB, "--no-start")
    began = cluster.root() / "run-began"
    cluster.hook(PRE, "10-no", "exit 1\n")
    waits = f'[ "$GANTRY_ATTEMPT" != 1 ] || {{ touch {began}; exec sleep 300; }}\n'
    cluster.hook(FAIL, "50-told", TOLD + waits)
    job = cluster.gnt("gnt-instance", "startup", "--submit", WEB).split()[-1]
    eventually("the script begins", began.exists)
    cluster.kill("master")
    cluster.kill("agent", 1)
    cluster.local("up")
    assert cluster.try_gnt("gnt-job", "wait", job).status == 1
    lines = told(cluster)
    assert lines[0] == "1 denied FAIL" and len(lines) == 2
    assert lines[1].endswith(" denied FAIL") and not lines[1].startswith("1")


def test_a_wrong_policy_denies_and_verify_names_it(cluster: Cluster) -> None:
    cluster.add(WEB, "--no-start")
    cluster.hook(PRE, "10-yes", "exit 0\n")
    policy(cluster, "[default]\ntiemout = 5\n")
    done = cluster.try_gnt("gnt-instance", "startup", WEB)
    assert done.status == 1
    assert "hooks.toml line 2: there is no key 'tiemout'; did you mean 'timeout'?" in done.said
    verified = cluster.try_gnt("gnt-cluster", "verify")
    assert verified.status == 1
    assert "hooks.toml: line 2: there is no key 'tiemout'" in verified.said
    policy(cluster, "[default]\ntimeout = 5\n")
    cluster.gnt("gnt-instance", "startup", WEB)


def test_a_node_that_is_away_denies_where_the_masters_policy_says_so(cluster: Cluster) -> None:
    policy(cluster, '[directory."node-modify-pre.d"]\non-unreachable = "deny"\n')
    cluster.kill("agent", 3)
    try:
        done = cluster.try_gnt("gnt-node", "modify", "--drained", "yes", "node3")
        assert done.status == 1
        assert "node: node3.gantry.test, script: (all), output: (not run: " in done.said
        assert "on-unreachable is deny on the master node" in done.said
    finally:
        cluster.local("up")


def test_a_dry_run_shows_what_would_run(cluster: Cluster) -> None:
    cluster.add(WEB, "--no-start", node=2)
    cluster.hook(PRE, "20-b", "exit 1\n", (1, 2))
    cluster.hook(PRE, "10-a", "exit 1\n", (2,))
    policy(cluster, f'[script."{PRE}/20-b"]\ntimeout = "5s"\n', 2)
    done = cluster.try_gnt("gnt-instance", "startup", "--dry-run", WEB)
    assert done.status == 0, done.said
    for line in (
        f"before on node1.gantry.test: would run {PRE}/20-b (version 1, at most 600 s)",
        f"before on node2.gantry.test: would run {PRE}/10-a (version 1, at most 600 s)",
        f"before on node2.gantry.test: would run {PRE}/20-b (version 1, at most 5 s)",
    ):
        assert line in done.said


def test_a_dry_run_of_a_verification_runs_no_script(cluster: Cluster) -> None:
    directory = "cluster-verify-post.d"
    cluster.hook(directory, "10-marks", 'touch "$GANTRY_ROOT/verified"\n', (2,))
    for how in ("--dry-run", "--dry-run=hooks"):
        said = cluster.try_gnt("gnt-cluster", "verify", how).said
        assert f"afterwards on node2.gantry.test: would run {directory}/10-marks" in said
    assert not (cluster.root(2) / "verified").exists()
