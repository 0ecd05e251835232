"""The documentation says what the table and the environments say."""

from __future__ import annotations

import re

import pytest
from tests.unit.hooks.cluster import snapshot
from tests.unit.hooks.page import PAGE, page
from tests.unit.hooks.situation import rich_instance

from gantry.hooks import catalogue, trial
from gantry.hooks.entry import Phase, Row
from gantry.hooks.plan import phase_runs
from gantry.hooks.policy import Kind, Only
from gantry.hooks.policy_file import KEYS, parse
from gantry.hooks.subject import Subject, SubjectKind
from gantry.hooks.table import CONFIG_UPDATE, ROWS


def test_the_page_of_operations_is_what_the_table_says() -> None:
    assert PAGE.read_text() == page(), "python -m tests.unit.hooks.page"


def test_the_example_of_a_policy_is_one_and_names_every_key() -> None:
    page = (PAGE.parent / "policy.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    policy = parse(example.encode())
    assert [entry.kind for entry in policy.entries] == list(Kind)
    for key in KEYS:
        assert f"| `{key}` |" in page
    for condition in Only.__struct_fields__:
        assert f"`{condition}`" in page


def test_every_variable_of_an_instance_is_described() -> None:
    described = set(re.findall(r"`([A-Z_a-z*0-9]+)`", (PAGE.parent / "variables.md").read_text()))
    before = snapshot(instances=[rich_instance()])
    subject = Subject(kind=SubjectKind.INSTANCE, instance=rich_instance())
    for run in phase_runs("OP_INSTANCE_STARTUP", Phase.PRE, before, subject):
        for environment in run.environments.values():
            for name in environment:
                assert _general(name) in described, name


@pytest.mark.parametrize("operation", [*ROWS, CONFIG_UPDATE])
def test_whatever_an_operation_sends_is_described(operation: str) -> None:
    """Not only what its entry names: all of what its scripts get, in each phase and version."""
    text = (PAGE.parent / "variables.md").read_text()
    described = set(re.findall(r"`([A-Z_a-z*0-9<>]+)`", text))
    phases = {one.phase for one in catalogue.readings(1, operation)}
    sent = {
        _general(name.replace("GANETI_POST_", "GANETI_"))
        for phase in phases
        for version in (1, 2)
        if phase in {one.phase for one in catalogue.readings(version, operation)}
        for environment in trial.made_up(operation, phase, version, {}).environments.values()
        for name in environment
    }
    assert {"HOOKS_VERSION", "CLUSTER"} <= sent
    assert not sent - described


@pytest.mark.parametrize("entry", ROWS.values(), ids=lambda entry: entry.opcode)
def test_every_variable_of_an_operation_is_described(entry: Row) -> None:
    """Also of one to come: its entry in the table is all that it takes to fail here."""
    text = (PAGE.parent / "variables.md").read_text()
    described = set(re.findall(r"`([A-Z_a-z0-9]+)`", text))
    assert not {*entry.own, *entry.node_variables} - described


def _general(name: str) -> str:
    """As the page writes it."""
    bare = name.removeprefix("GANETI_")
    bare = re.sub(r"^NODE_TAGS_.*", "NODE_TAGS_<name>", bare)
    bare = re.sub(r"^INSTANCE_(NIC|DISK)\d+_", r"INSTANCE_\1n_", bare)
    return re.sub(r"^INSTANCE_(BE|HV)_.*", r"INSTANCE_\1_*", bare)
