"""Orders for trying a script, out of the example cluster."""

from __future__ import annotations

import pytest

from gantry.hooks import catalogue, trial
from gantry.hooks.entry import Phase
from gantry.hooks.table import ROWS
from gantry.model.errors import Rejected

CASES = [
    (opcode, reading.phase, version)
    for version in (1, 2)
    for opcode in ROWS
    for reading in catalogue.readings(version, opcode)
]


@pytest.mark.parametrize(("opcode", "phase", "version"), CASES)
def test_every_phase_of_every_operation_can_be_tried(
    opcode: str, phase: Phase, version: int
) -> None:
    order = trial.made_up(opcode, phase, version, {})
    [directory] = order.directories
    row = ROWS[opcode]
    assert directory.name == f"{row.directory(version)}-{phase.value}.d"
    environment = order.environments[str(directory.version)]
    assert environment["GANETI_HOOKS_VERSION"] == str(version)
    assert environment["GANETI_OP_CODE"] == row.op_code
    for name in row.own:
        if name not in row.flags:
            assert f"GANETI_{name}" in environment
    assert ("GANETI_POST_OP_TARGET" in environment) == (row.target and phase is Phase.POST)


def test_variables_can_be_set_with_or_without_their_prefix() -> None:
    settings = {"INSTANCE_NAME": "db1", "GANETI_INSTANCE_OS": "x", "GANTRY_DRY_RUN": "1"}
    order = trial.made_up("instance-add", Phase.PRE, 1, settings)
    environment = order.environments["1"]
    assert environment["GANETI_INSTANCE_NAME"] == "db1"
    assert environment["GANETI_INSTANCE_OS"] == "x"
    assert environment["GANTRY_DRY_RUN"] == "1"
    assert trial.unknown(order, {"INSTANCE_NAM": "x", "FORCE": "1"}, "instance-start") == [
        "INSTANCE_NAM"
    ]


@pytest.mark.parametrize("name", ["", "A B", "1A", "A=B", "x\ny"])
def test_what_is_no_variable_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match="not the name of a variable"):
        trial.made_up("instance-add", Phase.PRE, 1, {name: "x"})


def test_a_phase_that_an_operation_does_not_have_is_refused() -> None:
    with pytest.raises(Rejected, match="cluster-verify has no phase pre") as refused:
        trial.made_up("cluster-verify", Phase.PRE, 1, {})
    assert "post" in refused.value.hint
    with pytest.raises(Rejected, match="no operation with hooks"):
        trial.made_up("instance-nonsense", Phase.PRE, 1, {})


def test_the_special_directory_can_be_tried() -> None:
    order = trial.made_up("config-update", Phase.POST, 2, {})
    assert [one.name for one in order.directories] == ["config-update-post.d"]


@pytest.mark.parametrize(
    ("name", "other"), [("check.sh", "check-sh"), ("10-a", "10-a"), ("é", "script")]
)
def test_a_name_that_can_run(name: str, other: str) -> None:
    assert trial.runnable_name(name) == other
