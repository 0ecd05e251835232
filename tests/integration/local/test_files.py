"""A node's files before anything runs there, and the sample hooks."""

import os
import subprocess
from pathlib import Path

import pytest

from gantry.cli.programs import PROGRAMS
from gantry.local import files
from gantry.local.description import LocalNode
from gantry.local.layout import Layout
from gantry.local.shipped import shipped
from gantry.model.errors import OperationFailed, Rejected

NODE = LocalNode(number=1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.make()
    files.make(made, NODE)
    return made


def test_a_node_has_every_program_and_they_run(layout: Layout) -> None:
    for name in ("gantry", *PROGRAMS):
        assert os.access(layout.program(NODE, name), os.X_OK), name
    done = subprocess.run(
        [layout.program(NODE, "gantry"), "--help"], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.startswith("usage: gantry COMMAND")


def _shell(layout: Layout, line: str) -> subprocess.CompletedProcess[str]:
    """``line`` with the node's programs first in ``PATH``, and none of our packages around."""
    return subprocess.run(
        ["/bin/sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=100,
        cwd="/",
        env={"PATH": f"{layout.root(NODE)}/bin:/usr/bin:/bin"},
    )


def test_a_nodes_programs_find_their_packages_and_the_node(layout: Layout) -> None:
    (layout.root(NODE) / "var/lib/ganeti/ssconf_master_node").write_text("node1.gantry.test\n")
    shown = _shell(layout, "gnt-cluster getmaster && gnt-cluster init --help")
    assert shown.stdout.startswith("node1.gantry.test\nusage: gnt-cluster init"), shown.stderr


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("gnt-instance list --help >&-", 0),
        ("gnt-instance --help >&- 2>&-", 0),
        ("gnt-instance nonsense 2>&-", 2),
        ("gnt-instance --help > /dev/full", 1),
    ],
)
def test_outputs_that_are_closed_or_full_are_no_traceback(
    layout: Layout, line: str, status: int
) -> None:
    done = _shell(layout, line)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


def test_a_reader_that_leaves_ends_a_program_quietly(layout: Layout) -> None:
    done = _shell(layout, "{ gnt-instance --help; echo $? >&2; } | true")
    assert done.stderr == "0\n"


def test_a_node_has_the_definitions_that_come_with_gantry(layout: Layout) -> None:
    place = layout.root(NODE) / "srv/ganeti/os"
    names = {path.name for path in place.iterdir()}
    assert names >= {"busybox", "cloud-image", "noop"}
    assert os.access(place / "busybox/create", os.X_OK)


def test_what_an_operator_changed_stays(layout: Layout) -> None:
    script = layout.root(NODE) / "srv/ganeti/os/noop/create"
    script.write_text("#!/bin/sh\nexit 1\n")
    files.make(layout, NODE)
    assert script.read_text() == "#!/bin/sh\nexit 1\n"


def test_all_nodes_have_one_shared_directory(layout: Layout) -> None:
    other = LocalNode(number=2)
    files.make(layout, other)
    (layout.root(NODE) / "srv/ganeti/shared-file-storage/disk").write_text("x")
    assert (layout.root(other) / "srv/ganeti/shared-file-storage/disk").read_text() == "x"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    layout.root(NODE).write_text("in the way")
    with pytest.raises(OperationFailed, match="node1"):
        files.make(layout, NODE)


def test_a_file_that_does_not_come_with_gantry_is_missed() -> None:
    with pytest.raises(Rejected, match="lacks no-such-thing"):
        shipped("no-such-thing")


def _hook(layout: Layout, script: str, instance: str) -> subprocess.CompletedProcess[str]:
    (layout.root(NODE) / "var/log/ganeti").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [shipped("examples/demo-hooks") / script],
        capture_output=True,
        text=True,
        timeout=100,
        env={
            "PATH": "/usr/bin:/bin",
            "GANTRY_ROOT": str(layout.root(NODE)),
            "GANTRY_JOB": "7",
            "GANETI_HOOKS_PATH": "instance-add",
            "GANETI_HOOKS_PHASE": "PRE",
            "GANETI_OP_TARGET": instance,
            "GANETI_INSTANCE_NAME": instance,
        },
    )


def test_the_sample_policy_denies_forbidden_names_only(layout: Layout) -> None:
    policy = "instance-add-pre.d/50-policy"
    assert _hook(layout, policy, "web1.gantry.test").returncode == 0
    denied = _hook(layout, policy, "forbidden1.gantry.test")
    assert denied.returncode == 1
    assert "forbidden1.gantry.test: this site allows no names" in denied.stdout


def test_the_sample_record_says_what_ran(layout: Layout) -> None:
    assert _hook(layout, "instance-add-pre.d/99-record", "web1.gantry.test").returncode == 0
    record = layout.root(NODE) / "var/log/ganeti/hooks-that-ran"
    assert record.read_text() == "job 7: instance-add PRE web1.gantry.test: 99-record ok\n"
