"""What holds for every phase of every operation, whatever the cluster looks like."""

from __future__ import annotations

import re
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.cluster import CLUSTER, GROUP

from gantry.hooks.plan import NodeRun, config_update, phase_runs
from gantry.hooks.subject import Subject
from gantry.hooks.table import ROWS, Phase, Row
from gantry.model.entities import (
    AdminState,
    Cluster,
    Disk,
    DiskTemplate,
    Group,
    HypervisorName,
    Instance,
    Nic,
    NicMode,
    Node,
)
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot, build

LEGAL: Final = re.compile(r"PATH|GANETI_[A-Za-z0-9_.-]+")
LABEL: Final = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME: Final = st.tuples(LABEL, LABEL).map(".".join)
TAG: Final = st.from_regex(r"[\w.+*/:@-]{1,20}", fullmatch=True)
TEXT: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
PARAMETER: Final = st.one_of(st.none(), st.booleans(), st.integers(), TEXT)
OTHER_GROUP: Final = Uuid("00000000-0000-4000-8000-000000000009")

FEW: Final = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A situation is big, and the machine may be busy."""


def uuids(kind: int, count: int) -> list[Uuid]:
    return [Uuid(f"00000000-0000-4000-8000-{kind:06d}{number:06d}") for number in range(count)]


@st.composite
def nodes(draw: st.DrawFn) -> list[Node]:
    names = draw(st.lists(NAME, min_size=1, max_size=6, unique=True))
    return [
        Node(
            uuid=uuid,
            name=name,
            primary_ip="192.0.2.1",
            secondary_ip="198.51.100.1",
            group=draw(st.sampled_from([GROUP, OTHER_GROUP])),
            offline=draw(st.booleans()),
            tags=tuple(draw(st.lists(TAG, max_size=3))),
        )
        for uuid, name in zip(uuids(1, len(names)), names, strict=True)
    ]


@st.composite
def instances(draw: st.DrawFn, on: list[Uuid]) -> Instance:
    disks = tuple(
        Disk(
            uuid=uuid,
            size=draw(st.integers(1, 2**40)),
            template=draw(st.sampled_from([DiskTemplate.FILE, DiskTemplate.SHAREDFILE])),
            path=f"/srv/{uuid}",
            name=draw(st.none() | LABEL),
        )
        for uuid in uuids(2, draw(st.integers(0, 3)))
    )
    nics = tuple(
        Nic(
            uuid=uuid,
            mac="aa:00:00:00:00:01",
            mode=draw(st.sampled_from(NicMode)),
            link=draw(st.sampled_from(["", "br0"])),
            ip=draw(st.none() | st.just("192.0.2.9")),
            name=draw(st.none() | LABEL),
        )
        for uuid in uuids(3, draw(st.integers(0, 3)))
    )
    return Instance(
        uuid=uuids(4, 1)[0],
        name=draw(NAME),
        tags=tuple(draw(st.lists(TAG, max_size=3))),
        primary_node=draw(st.sampled_from(on)),
        secondary_nodes=tuple(draw(st.lists(st.sampled_from(on), max_size=2))),
        os=draw(st.sampled_from(["", "noop", "noop+variant"])),
        hypervisor=draw(st.sampled_from(HypervisorName)),
        hvparams=draw(st.dictionaries(st.just("kernel_args"), TEXT)),
        beparams={"vcpus": draw(st.integers(1, 64))},
        admin_state=draw(st.sampled_from(AdminState)),
        disk_template=DiskTemplate.FILE if disks else DiskTemplate.DISKLESS,
        disks=disks,
        nics=nics,
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Row, Snapshot, Subject]:
    """An operation on something in a cluster of either version."""
    entry = draw(st.sampled_from(list(ROWS.values())))
    found = draw(nodes())
    all_of_them = [node.uuid for node in found]
    cluster = Cluster(
        uuid=CLUSTER,
        name=draw(NAME),
        master_node=draw(st.sampled_from(all_of_them)),
        hooks_version=draw(st.sampled_from([1, 2])),
        tags=tuple(draw(st.lists(TAG, max_size=3))),
    )
    groups = [Group(uuid=GROUP, name="default"), Group(uuid=OTHER_GROUP, name="other")]
    mine = draw(instances(all_of_them))
    values: dict[str, Any] = {name: draw(PARAMETER) for name in entry.own if draw(st.booleans())}
    if "SRC_IMAGES" in values:
        values["SRC_IMAGES"] = draw(st.lists(TEXT, max_size=2))
    subject = Subject(
        kind=entry.kind,
        instance=mine if entry.kind == "INSTANCE" else None,
        node=draw(st.sampled_from(found)) if entry.kind == "NODE" else None,
        values=values,
        extra_nodes=tuple(draw(st.lists(st.sampled_from(all_of_them), max_size=3))),
        new_disks=draw(st.booleans()),
    )
    return entry, build(1, [cluster, *groups, *found, mine]), subject


def every_phase(entry: Row, cluster: Snapshot, subject: Subject) -> list[tuple[NodeRun, ...]]:
    return [
        phase_runs(entry.opcode, Phase.PRE, cluster, subject),
        phase_runs(entry.opcode, Phase.POST, cluster, subject, cluster, subject),
        phase_runs(entry.opcode, Phase.FAIL, cluster, subject),
    ]


@FEW
@given(situations())
def test_environments_can_be_given_to_a_process(
    situation: tuple[Row, Snapshot, Subject],
) -> None:
    entry, cluster, subject = situation
    found = [run for runs in every_phase(*situation) for run in runs]
    for run in [*found, config_update(entry.opcode, cluster, subject)]:
        assert {str(one.version) for one in run.directories} <= run.environments.keys()
        assert run.environments.keys() == {"1", "2"}
        for environment in run.environments.values():
            for name, value in environment.items():
                assert LEGAL.fullmatch(name), name
                assert type(value) is str
                assert "\0" not in value
                assert value.encode().decode() == value


@FEW
@given(situations())
def test_no_node_is_named_twice_and_none_that_is_offline(
    situation: tuple[Row, Snapshot, Subject],
) -> None:
    _, cluster, _ = situation
    for runs in every_phase(*situation):
        named = [run.node for run in runs]
        assert len(named) == len(set(named))
        assert not any(cluster.nodes[uuid].offline for uuid in named)


@FEW
@given(situations())
def test_no_directory_is_read_twice_on_a_node(
    situation: tuple[Row, Snapshot, Subject],
) -> None:
    for phase, runs in zip(Phase, every_phase(*situation), strict=True):
        for run in runs:
            names = [one.name for one in run.directories]
            assert names
            assert len(names) == len(set(names))
            assert all(name.endswith(f"-{phase}.d") for name in names)


@FEW
@given(situations())
def test_post_scripts_get_all_that_pre_scripts_got(
    situation: tuple[Row, Snapshot, Subject],
) -> None:
    before, after, _ = every_phase(*situation)
    posts = {run.node: run for run in after}
    for run in before:
        if run.node not in posts:
            continue
        for version, told in run.environments.items():
            later = posts[run.node].environments.get(version, told)
            same = told.keys() - {"GANETI_HOOKS_PHASE"}
            assert {name: later.get(name) for name in same} == {name: told[name] for name in same}


@FEW
@given(situations())
def test_the_same_situation_gives_the_same_runs(
    situation: tuple[Row, Snapshot, Subject],
) -> None:
    """A repeat after a crash must see exactly the same variables."""
    assert every_phase(*situation) == every_phase(*situation)
