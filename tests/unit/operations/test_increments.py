"""Upon which point an incremental export is built, and why it is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.export_files import chain
from tests.unit.operations.scene import web

from gantry.model import export_facts
from gantry.model.backup_orders import CONFIG, FACTS, ExportContents
from gantry.model.entities import Disk, DiskTemplate, Instance
from gantry.model.errors import Rejected
from gantry.model.export_facts import DumpFacts, Facts
from gantry.model.increment_orders import Below
from gantry.model.live import GuestLive, GuestState
from gantry.model.names import Uuid
from gantry.operations.steps.increments import Decision, Now, Upon, decide

MARK = Uuid("00000000-0000-4000-8000-00000000000a")
DISK = Disk(
    uuid=Uuid("00000000-0000-4000-8000-000000000777"),
    size=128,
    template=DiskTemplate.FILE,
    path="/srv/ganeti/file-storage/web1/disk0",
)
INSTANCE = web(1, disks=(DISK,), disk_template=DiskTemplate.FILE)
GUEST = GuestLive(uuid=INSTANCE.uuid, name=INSTANCE.name, state=GuestState.RUNNING)
NOW = Now(instance=INSTANCE, node="node1.example.com", guest=GUEST, marks={MARK: (0,)})
FILES = chain(INSTANCE.name, DISK.uuid, MARK, instance=INSTANCE.uuid)
DUMPS = (
    DumpFacts(name=DISK.uuid, scripted=False),
    DumpFacts(name=f"{DISK.uuid}.2", scripted=False, below=DISK.uuid),
)
FOUND = ExportContents(
    config=FILES[f"2.{CONFIG}"],
    facts=FILES[f"2.{FACTS}"],
    files={name: len(text) for name, text in FILES.items()},
    point=2,
    points=(1, 2),
    dumps=DUMPS,
)


STOPPED = msgspec.structs.replace(
    FOUND, facts=chain(INSTANCE.name, DISK.uuid, MARK, "as it was", INSTANCE.uuid)[f"2.{FACTS}"]
)


def changed(**fields: Any) -> ExportContents:
    return msgspec.structs.replace(FOUND, **fields)


def now(**fields: Any) -> Now:
    return msgspec.structs.replace(NOW, **fields)


def test_what_has_changed_since_the_last_point() -> None:
    found = decide(FOUND, NOW)
    below = (Below(f"{DISK.uuid}.2", "qcow2"),)
    assert found.upon == Upon(last=2, since=MARK, below=below)
    assert "point 3 is what has changed since point 2" in found.why


def test_nothing_has_changed_in_disks_that_nobody_wrote_to() -> None:
    found = decide(STOPPED, now(guest=None, stamps={DISK.uuid: "as it was"}))
    assert found.upon == Upon(last=2, below=(Below(f"{DISK.uuid}.2", "qcow2"),))
    assert found.upon.unchanged
    assert "point 3 has nothing new" in found.why


def test_the_first_point_is_raw() -> None:
    facts = export_facts.encode(Facts(mark=MARK, dumps=DUMPS[:1]))
    first = changed(config=FILES[CONFIG], facts=facts, point=1, points=(1,), dumps=DUMPS[:1])
    found = decide(first, NOW)
    assert found.upon == Upon(last=1, since=MARK, below=(Below(DISK.uuid, "raw"),))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "there is no export of it there yet"),
        (changed(config="nonsense"), "is of no use"),
        (changed(facts="{"), "is of no use"),
        (changed(facts=""), "made without --incremental"),
        (changed(facts=export_facts.encode(Facts(dumps=DUMPS))), "made without --incremental"),
        (
            changed(facts=FILES[f"2.{FACTS}"].replace(INSTANCE.uuid, DISK.uuid), points=(2,)),
            "is of another instance of that name, and is replaced",
        ),
    ],
)
def test_a_new_chain_begins(found: ExportContents | None, why: str) -> None:
    decision = decide(found, NOW)
    assert decision.upon is None
    assert why in decision.why


LARGER = web(1, disks=(msgspec.structs.replace(DISK, size=129),), disk_template=DiskTemplate.FILE)
OTHER = web(
    1,
    disks=(msgspec.structs.replace(DISK, uuid=Uuid("00000000-0000-4000-8000-000000000778")),),
    disk_template=DiskTemplate.FILE,
)
MORE = web(1, disks=(*INSTANCE.disks, *OTHER.disks), disk_template=DiskTemplate.FILE)


@pytest.mark.parametrize(
    ("found", "state", "why"),
    [
        (FOUND, now(guest=None, marks={}), "counted only while it does"),
        (STOPPED, now(guest=None, marks={}), "have been written to since"),
        (STOPPED, now(guest=None, stamps={DISK.uuid: ""}), "have been written to since"),
        (STOPPED, now(guest=None, stamps={DISK.uuid: "later"}), "have been written to since"),
        (STOPPED, now(marks={}), "does not know"),
        (FOUND, now(node="node3.example.com"), "was on node1.example.com at the last one"),
        (FOUND, now(marks={}), "QEMU of web1.example.com does not know"),
        (FOUND, now(marks={"another": (0,)}), "does not know"),
        (FOUND, now(marks={MARK: ()}), "does not know"),
        (
            FOUND,
            now(marks={}, guest=msgspec.structs.replace(GUEST, since=2.0)),
            "was started anew since",
        ),
        (FOUND, now(instance=LARGER), "its disks are not those"),
        (FOUND, now(instance=OTHER), "its disks are not those"),
        (FOUND, now(instance=MORE, marks={MARK: (0, 1)}), "its disks are not those"),
        (changed(files={CONFIG: 1, f"{DISK.uuid}.2": 1}), NOW, f"{DISK.uuid} is missing"),
        (changed(dumps=DUMPS[1:]), NOW, "is damaged"),
        (
            changed(dumps=(msgspec.structs.replace(DUMPS[0], below=DUMPS[1].name), DUMPS[1])),
            NOW,
            "is damaged",
        ),
    ],
)
def test_a_full_point_is_added_and_it_says_why(found: ExportContents, state: Now, why: str) -> None:
    decision = decide(found, state)
    assert decision.upon == Upon(last=2)
    assert "point 3 is a full export" in decision.why
    assert why in decision.why


def test_no_number_is_given_twice() -> None:
    facts = msgspec.structs.replace(export_facts.decode(FOUND.facts), highest=7)
    found = decide(changed(facts=export_facts.encode(facts)), NOW)
    assert found.upon is not None
    assert (found.upon.last, found.upon.number) == (2, 8)
    assert "point 8 is what has changed since point 2" in found.why


NAMESAKE = web(1, disks=OTHER.disks, disk_template=DiskTemplate.FILE)
NAMESAKE = msgspec.structs.replace(NAMESAKE, uuid=Uuid("00000000-0000-4000-8000-000000000779"))
OF_NOBODY = FILES[f"2.{FACTS}"].replace(INSTANCE.uuid, "")


@pytest.mark.parametrize(
    ("facts", "instance"),
    [
        (FILES[f"2.{FACTS}"], NAMESAKE),
        (FILES[f"2.{FACTS}"], msgspec.structs.replace(NAMESAKE, disks=INSTANCE.disks)),
        (OF_NOBODY, NAMESAKE),
    ],
    ids=["another one", "with the same disks", "only the disks tell"],
)
def test_the_chain_of_another_instance_gets_no_point(facts: str, instance: Instance) -> None:
    """It was renamed or removed, and another one has its name now."""
    with pytest.raises(Rejected, match="is of another instance") as told:
        decide(changed(facts=facts), now(instance=instance))
    assert f"mv /var/lib/ganeti/export/{instance.name} " in str(told.value.hint)


def test_a_chain_of_disks_that_are_known_is_that_of_the_instance() -> None:
    found = decide(changed(facts=OF_NOBODY), NOW)
    assert found.upon is not None
    assert found.upon.since == MARK


def test_a_chain_has_an_end() -> None:
    with pytest.raises(Rejected, match="has 1000 points already"):
        decide(changed(points=tuple(range(1, 1001)), point=1000), NOW)


@given(
    st.dictionaries(
        st.sampled_from([MARK, "other"]), st.lists(st.integers(0, 2), max_size=3).map(tuple)
    ),
    st.booleans(),
    st.sampled_from(["node1.example.com", "node2.example.com"]),
)
def test_nothing_is_built_on_what_is_not_counted(
    marks: dict[str, tuple[int, ...]], runs: bool, node: str
) -> None:
    decision: Decision = decide(FOUND, now(marks=marks, guest=GUEST if runs else None, node=node))
    counted = 0 in marks.get(MARK, ()) and runs and node == "node1.example.com"
    assert decision.upon is not None
    assert (decision.upon.since is not None) == counted


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 5)), max_size=6))
def test_layers_end_or_are_refused(edges: list[tuple[int, int]]) -> None:
    dumps = [
        DumpFacts(name=str(name), scripted=False, below="" if below < 0 else str(below))
        for name, below in edges
    ]
    for dump in dumps:
        try:
            found = export_facts.layers(dump.name, dumps)
        except Rejected:
            continue
        assert len(found) == len(set(found))
        assert dump.name not in found
