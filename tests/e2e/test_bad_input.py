"""Wrong input: a clear error each time, nothing changed and nothing lost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cluster import Cluster, eventually

WEB = "web1.gantry.test"


def _state(cluster: Cluster) -> list[Any]:
    files = sorted(
        str(path)
        for number in (1, 2, 3)
        for path in (cluster.root(number) / "srv/ganeti").rglob("*")
        if "/os/" not in str(path)
    )
    return [cluster.rows("gnt-instance", "list"), files]


@pytest.fixture
def unchanged(cluster: Cluster) -> Iterator[None]:
    before = _state(cluster)
    yield
    assert _state(cluster) == before


def _add(cluster: Cluster, name: str, *changed: str) -> str:
    given = dict(zip(changed[::2], changed[1::2], strict=True))
    options = {
        "-t": "file", "-s": "16M", "-o": "noop", "-n": "node1", "-B": "memory=32M", **given
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    return cluster.refused("gnt-instance", "add", *words, "--no-nics", name)


@pytest.mark.parametrize("name", ["../x", "a b.gantry.test", "x-.gantry.test", "x/y", "", "ä.test"])
@pytest.mark.usefixtures("unchanged")
def test_a_name_that_is_no_host_name_is_refused(cluster: Cluster, name: str) -> None:
    said = _add(cluster, name)
    assert "host name" in said or "name" in said


@pytest.mark.parametrize("size", ["-1", "0", "10X", "1e3", "", "16 parrots", "99999t"])
@pytest.mark.usefixtures("unchanged")
def test_a_size_that_is_none_is_refused(cluster: Cluster, size: str) -> None:
    said = _add(cluster, WEB, "-s", size)
    assert "size" in said or "MiB" in said or "disk" in said


@pytest.mark.parametrize("memory", ["-1", "0", "10X", "1e3"])
@pytest.mark.usefixtures("unchanged")
def test_a_memory_that_is_none_is_refused(cluster: Cluster, memory: str) -> None:
    assert "memory" in _add(cluster, WEB, "-B", f"memory={memory}")


@pytest.mark.usefixtures("unchanged")
def test_more_memory_than_the_node_has_is_refused_with_what_there_is(cluster: Cluster) -> None:
    said = _add(cluster, WEB, "-B", "memory=100t")
    assert "memory" in said
    assert "node1" in said


@pytest.mark.usefixtures("unchanged")
def test_an_os_that_is_missing_is_refused(cluster: Cluster) -> None:
    said = _add(cluster, WEB, "-o", "plan9")
    assert "plan9" in said


@pytest.mark.usefixtures("unchanged")
def test_an_os_that_is_only_on_other_nodes_is_refused(cluster: Cluster) -> None:
    cluster.os_definition("partial", "exit 0\n", nodes=(2, 3))
    said = _add(cluster, WEB, "-o", "partial")
    assert "node node1.gantry.test has no OS definition 'partial'" in said
    assert "gnt-os diagnose" in said


@pytest.mark.usefixtures("unchanged")
def test_an_os_that_differs_between_nodes_is_refused_and_shown(cluster: Cluster) -> None:
    for number in (1, 2, 3):
        cluster.os_definition("uneven", f"exit 0 # {number}\n", nodes=(number,))
    wanted = "OS definition uneven differs between nodes node1.gantry.test and node"
    said = ""

    def refused() -> bool:
        nonlocal said
        said = _add(cluster, WEB, "-o", "uneven")
        return wanted in said

    eventually("the master knows of all three", refused)
    assert "files: create" in said
    assert "gnt-os diagnose uneven" in said
    done = cluster.try_gnt("gnt-os", "diagnose", "uneven")
    assert done.status == 1
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "-exit 0 # 1" in lines
    assert {"+exit 0 # 2", "+exit 0 # 3"} <= set(lines)
    assert "+++ node3.gantry.test:create" in lines
    (shown,) = json.loads(cluster.try_gnt("gnt-os", "diagnose", "--json", "uneven").stdout)
    assert shown["difference"]["usual"] == "node1.gantry.test"
    verify = cluster.try_gnt("gnt-cluster", "verify")
    assert verify.status == 1
    assert "OS uneven: differs from most nodes in: create" in verify.said


@pytest.mark.usefixtures("unchanged")
def test_an_os_whose_create_fails_leaves_nothing(cluster: Cluster) -> None:
    cluster.os_definition("breaks", "echo the floppy is missing >&2\nexit 7\n")
    said = _add(cluster, WEB, "-o", "breaks")
    assert "the floppy is missing" in said


@pytest.mark.usefixtures("unchanged")
def test_an_unknown_node_is_refused_with_those_that_are_near(cluster: Cluster) -> None:
    assert "node9" in _add(cluster, WEB, "-n", "node9")


@pytest.mark.usefixtures("unchanged")
def test_a_disk_template_that_does_not_exist_is_refused(cluster: Cluster) -> None:
    assert "papyrus" in _add(cluster, WEB, "-t", "papyrus")


@pytest.mark.usefixtures("unchanged")
def test_the_name_of_a_node_cannot_be_an_instances(cluster: Cluster) -> None:
    assert "node2" in _add(cluster, "node2.gantry.test")


@pytest.mark.parametrize(
    "command",
    [
        ["stop", "nowhere"],
        ["start", "nowhere"],
        ["reboot", "nowhere"],
        ["remove", "-f", "nowhere"],
        ["modify", "-B", "memory=32M", "nowhere"],
        ["info", "nowhere"],
        ["list", "nowhere"],
        ["console", "nowhere"],
        ["add-tags", "nowhere", "x"],
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_an_unknown_instance_is_named(cluster: Cluster, command: list[str]) -> None:
    assert "nowhere" in cluster.refused("gnt-instance", *command)


def test_a_short_name_that_fits_two_instances_is_refused_and_both_are_named(
    cluster: Cluster,
) -> None:
    cluster.add("web1.gantry.test")
    cluster.add("web1.other.test")
    said = cluster.refused("gnt-instance", "stop", "web1")
    assert "web1.gantry.test" in said
    assert "web1.other.test" in said
    assert cluster.instance("web1.gantry.test", "status")["status"] == "running"


def test_a_name_that_is_taken_is_refused(cluster: Cluster) -> None:
    cluster.add(WEB)
    said = cluster.refused(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node2", "--no-nics", WEB
    )
    assert WEB in said
    assert cluster.instance(WEB, "pnode")["pnode"] == "node1.gantry.test"


@pytest.mark.parametrize("memory", ["-5", "0", "1e3", "100t"])
def test_a_senseless_change_is_refused(cluster: Cluster, memory: str) -> None:
    cluster.add(WEB)
    cluster.refused("gnt-instance", "modify", "-B", f"memory={memory}", "web1")
    assert cluster.instance(WEB, "be/memory")["be/memory"] == 32


def test_storage_that_cannot_be_written_is_told_and_nothing_stays(cluster: Cluster) -> None:
    storage = cluster.root(2) / "srv/ganeti/file-storage"
    aside = storage.with_name("aside")
    storage.rename(aside)
    storage.write_text("a file is in the way")
    try:
        said = _add(cluster, WEB, "-n", "node2")
    finally:
        storage.unlink()
        aside.rename(storage)
    assert "node2" in said
    assert cluster.instances() == []


@pytest.mark.root
def test_a_disk_that_fills_up_while_the_os_is_installed_is_told_and_nothing_stays(
    cluster: Cluster,
) -> None:
    import subprocess

    storage = cluster.root(2) / "srv/ganeti/file-storage"
    cluster.os_definition(
        "greedy", 'exec dd if=/dev/zero of="$DISK_0_PATH" bs=1M count=64 conv=notrunc\n'
    )
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20M", "tmpfs", storage], check=True, timeout=100
    )
    try:
        said = _add(cluster, WEB, "-n", "node2", "-o", "greedy")
        assert not [path for path in storage.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", storage], check=True, timeout=100)
    assert "is full" in said
    assert "make room" in said
    assert cluster.instances() == []


@pytest.mark.parametrize("program", ["gnt-instance", "gnt-node", "gnt-job", "gnt-os"])
def test_an_unknown_command_or_option_is_wrong_use(cluster: Cluster, program: str) -> None:
    for words in (["dance"], ["list", "--sideways"]):
        assert cluster.try_gnt(program, *words).status == 2


def test_a_job_that_does_not_exist_is_named(cluster: Cluster) -> None:
    assert "999999" in cluster.refused("gnt-job", "info", "999999")


def test_a_token_that_is_no_token_lets_nobody_join(cluster: Cluster, tmp_path: Path) -> None:
    import os
    import subprocess

    from tests.support.cluster import GANTRY

    done = subprocess.run(
        [*GANTRY, "join", "--address", "127.0.0.1"],
        input="gantry-join-1:bm9uc2Vuc2U=\n",
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "GANTRY_ROOT": str(tmp_path)},
        check=False,
    )
    assert done.returncode != 0
    assert "token" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.pem"))
