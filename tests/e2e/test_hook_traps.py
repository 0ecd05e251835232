"""What scripts and nodes do to an operation that they should not: with real programs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, alive, eventually

WEB = "web1.gantry.test"
DUMP = 'env > "$GANTRY_ROOT/run-$GANTRY_ATTEMPT"\n'
STARTED = "instance-start-pre.d"


@pytest.fixture(autouse=True)
def no_marks(cluster: Cluster) -> None:
    for path in cluster.directory.glob("node*/run-*"):
        path.unlink()


def _environment(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    pairs = dict(line.split("=", 1) for line in lines if "=" in line)
    return {name: value for name, value in pairs.items() if name.startswith(("GANETI_", "GANTRY_"))}


def _add_stopped(cluster: Cluster, node: int = 1) -> None:
    cluster.add(WEB, "--no-start", node=node)


def test_a_hook_may_read_the_very_instance_and_not_change_it(cluster: Cluster) -> None:
    """Reading works at once; what would wait for the job itself is refused at once."""
    _add_stopped(cluster)
    cluster.hook(
        STARTED,
        "10-self",
        'exec > "$GANTRY_ROOT/run-said" 2>&1\n'
        '"$GANTRY_ROOT/bin/gnt-instance" info --json "$GANETI_INSTANCE_NAME"'
        ' > "$GANTRY_ROOT/run-info"\n'
        'echo "info: $?"\n'
        '"$GANTRY_ROOT/bin/gnt-instance" shutdown "$GANETI_INSTANCE_NAME"\n'
        'echo "shutdown: $?"\n',
    )
    cluster.gnt("gnt-instance", "startup", WEB)
    said = (cluster.root() / "run-said").read_text()
    assert "info: 0" in said, said
    assert WEB in json.dumps(json.loads((cluster.root() / "run-info").read_text()))
    assert "shutdown: 1" in said
    assert "runs in a hook of job" in said
    assert "holds the lock" in said
    assert cluster.instance(WEB, "status")["status"] == "running"


def test_a_restarted_operation_tells_its_scripts_the_same(cluster: Cluster) -> None:
    """Only GANTRY_ATTEMPT differs, whatever happened to the cluster in between."""
    _add_stopped(cluster)
    began, go = cluster.root() / "run-began", cluster.root() / "run-go"
    waits = f"touch {began}\nwhile [ ! -e {go} ]; do sleep 0.05; done\n"
    cluster.hook(STARTED, "10-dump", DUMP + waits)
    job = cluster.gnt("gnt-instance", "startup", "--submit", WEB).split()[-1]
    eventually("the script begins", began.exists)
    cluster.kill("master")
    go.touch()
    cluster.local("up")
    cluster.gnt("gnt-job", "wait", job)
    attempts = sorted(int(one.name[4:]) for one in cluster.root().glob("run-[0-9]*"))
    assert attempts[0] == 1
    first, second = (_environment(cluster.root() / f"run-{number}") for number in attempts)
    assert {name for name in first if first[name] != second.get(name)} == {"GANTRY_ATTEMPT"}
    assert first.keys() == second.keys()
    assert first["GANTRY_RUN_ID"]
    assert cluster.instance(WEB, "status")["status"] == "running"


def test_a_node_that_does_not_answer_is_said_and_denies_nothing(cluster: Cluster) -> None:
    """Its script, which would deny, is not asked; the job says so in plain words."""
    cluster.hook("node-modify-pre.d", "10-no", "exit 1\n", (3,))
    cluster.kill("agent", 3)
    done = cluster.try_gnt("gnt-node", "modify", "--drained", "yes", "node3")
    try:
        assert done.status == 0, done.said
        assert "node node3.gantry.test could not run its pre scripts" in done.said
        assert "does not count as a denial" in done.said
    finally:
        cluster.no_hooks()
        cluster.local("up")
        cluster.gnt("gnt-node", "modify", "--drained", "no", "node3")


def test_a_node_that_dies_while_its_script_runs_denies_nothing(cluster: Cluster) -> None:
    began = cluster.root(3) / "run-began"
    cluster.hook("node-modify-pre.d", "10-slow", f"echo $$ > {began}\nexec sleep 300\n", (3,))
    job = cluster.gnt("gnt-node", "modify", "--submit", "--drained", "yes", "node3").split()[-1]
    eventually("the script begins", began.exists)
    cluster.kill("agent", 3)
    try:
        assert cluster.try_gnt("gnt-job", "wait", job).status == 0
        said = cluster.gnt("gnt-job", "info", job)
        assert "node node3.gantry.test could not run its pre scripts" in said
    finally:
        cluster.no_hooks()
        cluster.local("up")
        cluster.gnt("gnt-node", "modify", "--drained", "no", "node3")
    left = int(began.read_text())
    eventually("the agent that came back ends what was left", lambda: not alive(left))


def test_a_verdict_names_every_script_that_denied_on_every_node(cluster: Cluster) -> None:
    """With node, exit status or signal, and what it said; all have run before it falls."""
    directory = "instance-add-pre.d"
    cluster.hook(directory, "10-status", "echo out; echo err >&2\nexit 7\n", (1, 2))
    cluster.hook(directory, "20-signal", "kill -9 $$\n", (2,))
    cluster.hook(directory, "30-last", 'touch "$GANTRY_ROOT/run-last"\n', (1, 2))
    said = cluster.refused(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    lines = [line for line in said.splitlines() if "script: " in line]
    assert [("node1" in line, "10-status" in line) for line in lines].count((True, True)) == 1
    assert [("node2" in line, "10-status" in line) for line in lines].count((True, True)) == 1
    ended = [line for line in lines if "10-status" in line]
    assert all(line.endswith(r"output: out\nerr (exit status 7)") for line in ended), ended
    [killed] = [line for line in lines if "20-signal" in line]
    assert "node2" in killed
    assert "signal 9" in killed
    assert all((cluster.root(node) / "run-last").exists() for node in (1, 2))
    assert cluster.instances() == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda c: c.gnt("gnt-instance", "add-tags", WEB, "a"), "OP_TAGS_SET"),
        (lambda c: c.gnt("gnt-instance", "startup", WEB), "OP_INSTANCE_STARTUP"),
    ],
    ids=["without hooks of its own", "with hooks"],
)
def test_every_change_of_the_configuration_runs_config_update_on_the_master(
    cluster: Cluster, change: Callable[[Cluster], object], code: str
) -> None:
    _add_stopped(cluster)
    cluster.hook("config-update-post.d", "10-dump", DUMP, (1, 2, 3))
    change(cluster)
    found = _environment(cluster.root(1) / "run-1")
    assert found["GANETI_HOOKS_PATH"] == "config-update"
    assert found["GANETI_HOOKS_PHASE"] == "POST"
    assert found["GANETI_OP_CODE"] == code
    assert not [name for name in found if name.startswith("GANETI_POST_")]
    assert not (cluster.root(2) / "run-1").exists()
    assert not (cluster.root(3) / "run-1").exists()


def test_a_denied_operation_runs_no_config_update(cluster: Cluster) -> None:
    _add_stopped(cluster)
    cluster.hook("config-update-post.d", "10-dump", DUMP)
    cluster.hook(STARTED, "10-no", "exit 1\n")
    cluster.refused("gnt-instance", "startup", WEB)
    assert not (cluster.root(1) / "run-1").exists()


def test_every_agent_runs_the_watchers_scripts_without_a_master(cluster: Cluster) -> None:
    """When it starts, and then every five minutes."""
    cluster.hook("watcher", "10-mark", 'touch "$GANTRY_ROOT/run-watcher"\n', (2, 3))
    cluster.kill("agent", 2)
    cluster.local("up")
    eventually("the script ran", (cluster.root(2) / "run-watcher").exists)
    assert not (cluster.root(3) / "run-watcher").exists(), "its agent goes on as it was"


def test_nodes_run_their_scripts_side_by_side(cluster: Cluster) -> None:
    """Each waits for the other one: one after the other neither would end."""
    here = cluster.directory
    cluster.hook(
        "instance-add-pre.d",
        "10-meets",
        f'touch "$GANTRY_ROOT/run-here"\n'
        f"until [ -e {here}/node1/run-here ] && [ -e {here}/node2/run-here ]; do\n"
        "  sleep 0.05\ndone\n",
        (1, 2),
    )
    cluster.add(WEB, node=2)
    assert cluster.instances() == [WEB]
