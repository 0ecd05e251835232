"""The table is whole, and fits the operations. Version 1 in detail: ``test_seed.py``."""

from __future__ import annotations

import re
from typing import Final

import pytest

from gantry.hooks.entry import Phase, Row, Where
from gantry.hooks.subject import SubjectKind
from gantry.hooks.table import CONFIG_UPDATE, HOOKED, ROWS, row
from gantry.model.errors import GantryError
from gantry.operations import registry

LATER: Final = """
    cluster-init cluster-destroy cluster-rename cluster-modify cluster-verify master-ip-turnup
    master-ip-turndown node-add node-remove node-modify node-migrate group-add group-modify
    group-remove group-rename group-evacuate network-add network-modify network-remove
    network-rename network-connect network-disconnect instance-add instance-reinstall
    instance-rename instance-remove instance-move instance-change-group instance-start
    instance-stop instance-reboot instance-modify instance-failover instance-migrate
    instance-export instance-recreate-disks disk-grow mirrors-replace
"""
"""The directories of version 2."""


def test_version_2_has_all_directories_of_ganeti() -> None:
    own = {entry.directory(2) for entry in ROWS.values() if not entry.only_seed}
    assert own == set(LATER.split())


def test_no_directory_belongs_to_two_operations() -> None:
    # A takeover that nobody asked for is told as a failover that somebody did.
    entries = [entry for entry in ROWS.values() if entry.opcode != "OP_MASTER_TAKEOVER"]
    found = [name for entry in entries for name in {entry.directory(1), entry.directory(2)}]
    assert len(found) == len(set(found))
    assert CONFIG_UPDATE not in found


@pytest.mark.parametrize("entry", ROWS.values(), ids=lambda entry: entry.opcode)
def test_every_entry_makes_sense(entry: Row) -> None:
    assert re.fullmatch(r"[a-z-]+", entry.prefix)
    assert set(entry.flags) <= set(entry.own)
    assert entry.op_code.startswith("OP_")
    about_instance = any(
        "instance" in entry.where(phase, version) for phase in Phase for version in (1, 2)
    )
    assert not about_instance or entry.kind is SubjectKind.INSTANCE
    assert {entry.pre, entry.post} != {Where.NOWHERE}


def test_there_are_five_types_of_objects_each_with_operations() -> None:
    found = {entry.kind.value for entry in ROWS.values()}
    assert found == {"CLUSTER", "NODE", "GROUP", "INSTANCE", "NETWORK"}
    assert {entry.kind.value for entry in ROWS.values() if entry.seed is not None} == {
        "CLUSTER", "NODE", "INSTANCE",
    }  # fmt: skip


@pytest.mark.parametrize("opcode", registry.PLACES)
def test_every_operation_with_hooks_is_in_the_table(opcode: str) -> None:
    assert registry.find(opcode).hooked is (opcode in HOOKED)


def test_an_operation_that_is_not_there_is_a_fault_of_ours() -> None:
    with pytest.raises(GantryError, match="OP_NEVER"):
        row("OP_NEVER")
