"""Scripts are found again by what they were told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from gantry.host.orphans import marked


@pytest.fixture
def script() -> Iterator[subprocess.Popen[bytes]]:
    environment = {"GANTRY_RUN_ID": "run-of-this-test", "GANTRY_ROOT": "/node1"}
    with subprocess.Popen(
        ["/bin/sh", "-c", "echo; read wait"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_script_of_the_run_is_found(script: subprocess.Popen[bytes]) -> None:
    markers = [("X=1",), ("GANTRY_RUN_ID=run-of-this-test", "GANTRY_ROOT=/node1")]
    assert [one.pid for one in marked(markers)] == [script.pid]


def test_a_script_of_another_node_or_run_is_left_alone(script: subprocess.Popen[bytes]) -> None:
    assert marked([("GANTRY_RUN_ID=run-of-this-test", "GANTRY_ROOT=/node2")]) == []
    assert marked([("GANTRY_RUN_ID=run-of-this", "GANTRY_ROOT=/node1")]) == []
