"""``gantry local demo``, which is ``make demo``: all of it, twice in a row without a guest."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.support.cluster import COMMAND, GANTRY, processes_below, short_directory


def _demo(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With the temporary files in a directory of its own, to see that nothing stays."""
    return subprocess.run(
        [*GANTRY, "local", "demo", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=COMMAND,
        env={**os.environ, "TMPDIR": str(directory)},
        check=False,
    )


def _nothing_left(directory: Path) -> None:
    assert list(directory.iterdir()) == []
    assert processes_below(directory) == []


@pytest.mark.qemu
def test_the_demo_shows_a_guest_hooks_and_a_denial_and_leaves_nothing() -> None:
    with short_directory() as directory:
        done = _demo(directory)
        assert done.returncode == 0, done.stdout + done.stderr
        _nothing_left(directory)
    said = done.stdout
    for command in (
        "$ gnt-os list",
        "$ gnt-instance add",
        "$ gnt-instance console web1.gantry.test",
        "$ gnt-instance shutdown web1.gantry.test",
        "$ gnt-instance remove -f web1.gantry.test",
        "$ gantry local down",
    ):
        assert command in said
    assert "web1.gantry.test is up, address 10.0.2.15" in said
    assert "instance-add PRE web1.gantry.test: 99-record ok" in said
    assert "allows no names that begin with 'forbidden'" in said
    assert "50-policy DENIES" in said
    assert "The demo took" in said


def test_the_demo_can_be_run_again_at_once() -> None:
    with short_directory() as directory:
        for _ in range(2):
            done = _demo(directory, "--fake")
            assert done.returncode == 0, done.stdout + done.stderr
            _nothing_left(directory)


def test_a_demo_that_fails_says_so_and_takes_the_cluster_down_too() -> None:
    with short_directory() as directory:
        broken = _demo(directory, "--dir", str(directory / ("x" * 90)))
        assert broken.returncode == 1
        assert "demo failed" in broken.stderr
        _nothing_left(directory)


def test_the_demo_leaves_a_directory_alone_that_is_in_use() -> None:
    with short_directory() as directory:
        (directory / "thesis.txt").write_text("three years of work")
        done = _demo(directory, "--dir", str(directory))
        assert done.returncode != 0
        assert "is not empty" in done.stderr
        assert (directory / "thesis.txt").exists()


def test_a_demo_that_is_told_to_end_takes_the_cluster_down() -> None:
    with short_directory() as directory:
        with subprocess.Popen(
            [*GANTRY, "local", "demo", "--fake"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(directory)},
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "gnt-os list" in line:
                    process.terminate()
                    break
            _, complaint = process.communicate(timeout=COMMAND)
        assert process.returncode == 1
        assert "it was interrupted" in complaint
        _nothing_left(directory)
