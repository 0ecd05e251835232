"""What verification finds, code by code, and that a healthy cluster has no finding."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes.world import NOOP
from tests.faults.situations import BUNDLES
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, facts, snapshot, up, web

from gantry.model.entities import AdminState, Disk, DiskTemplate, Rollout
from gantry.model.errors import Rejected, Unavailable
from gantry.model.live import GuestLive, GuestState, HypervisorFacts, OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import Inspection
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.cluster.verify import ClusterVerify
from gantry.operations.steps import verification
from gantry.operations.steps.verification import CODES, MOST, Finding

DISK = Disk(
    uuid=Uuid("d"), size=1, template=DiskTemplate.FILE, path="/srv/ganeti/file-storage/below/web1/d"
)
UP = web(admin_state=AdminState.UP)


def said(guests: dict[Uuid, GuestLive] | None = None, **changes: Any) -> Inspection:
    fields: dict[str, Any] = {
        "facts": facts(),
        "guests": tuple((guests or {}).values()),
        "oses": (NOOP,),
    }
    return Inspection(**{**fields, **changes})


def found(
    cluster: Snapshot, answers: dict[Uuid, Inspection | Unavailable] | None = None, now: float = 0.0
) -> list[tuple[str, str, str]]:
    seen = {node: said() for node in (NODE1, NODE2, NODE3)} | (answers or {})
    online = {uuid: one for uuid, one in seen.items() if not cluster.nodes[uuid].offline}
    all_of_it = [
        *verification.configuration(cluster, now),
        *verification.nodes(cluster, online, now),
    ]
    assert {one.code for one in all_of_it} <= CODES
    return [(one.level, one.code, one.item) for one in all_of_it]


def test_a_healthy_cluster_has_no_finding() -> None:
    assert found(snapshot(UP), {NODE1: said(up())}) == []


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (Unavailable("refused"), ("ERROR", "ENODERPC")),
        (said(facts=facts(clock=1200.0)), ("ERROR", "ENODETIME")),
        (said(facts=facts(version="other")), ("WARNING", "ENODEVERSION")),
        (said(facts=facts(certificate_expires=1000.0 + 20 * 86400)), ("WARNING", "ECLUSTERCERT")),
        (said(facts=facts(certificate_expires=1000.0 + 3 * 86400)), ("ERROR", "ECLUSTERCERT")),
        (said(facts=facts(hypervisors={})), ("ERROR", "ENODEHV")),
        (said(facts=facts(problems=("its memory was damaged",))), ("WARNING", "ENODESETUP")),
        (
            said(facts=facts(hypervisors={"fake": HypervisorFacts(available=False, why="no")})),
            ("ERROR", "ENODEHV"),
        ),
        (said(oses=()), ("ERROR", "ENODEOS")),
        (said(oses=(OsFacts(name="noop", path="/x", problem="broken"),)), ("ERROR", "ENODEOS")),
        (said(disks=("/srv/ganeti/file-storage/x/y",)), ("WARNING", "ENODEORPHANLV")),
        (
            said(
                {Uuid("z"): GuestLive(uuid=Uuid("z"), name="stray", state=up()[web().uuid].state)}
            ),
            ("ERROR", "ENODEORPHANINSTANCE"),
        ),
        (
            said({Uuid("z"): GuestLive(uuid=Uuid("z"), name="stray", state=GuestState.STOPPED)}),
            ("WARNING", "ENODEORPHANINSTANCE"),
        ),
        (said(problems=(("ENODENET", "x", "bridge br9 is not there"),)), ("ERROR", "ENODENET")),
        (said(problems=(("EUNKNOWN", "x", "strange"),)), ("ERROR", "ENODESETUP")),
    ],
)
def test_what_is_wrong_with_a_node_is_told_of_it(
    answer: Inspection | Unavailable, finding: tuple[str, str]
) -> None:
    assert found(snapshot(), {NODE2: answer}, now=1000.0) == [(*finding, "node2.example.com")]


def test_what_ends_a_stranger_is_said_with_it() -> None:
    stray = {Uuid("z"): GuestLive(uuid=Uuid("z"), name="stray", state=GuestState.RUNNING)}
    [one] = verification.nodes(snapshot(), {NODE2: said(stray)}, 1000.0)
    assert "gnt-node end-guest node2.example.com z" in one.message
    found = verification.nodes(snapshot(UP), {NODE2: said(up())}, 1000.0)
    wrong = next(one for one in found if one.code == "EINSTANCEWRONGNODE")
    assert f"gnt-node end-guest node2.example.com {web().uuid}" in wrong.message


def test_a_clock_may_be_some_seconds_off() -> None:
    assert found(snapshot(), {NODE2: said(facts=facts(clock=1149.0))}, now=1000.0) == []


def test_a_node_without_guests_needs_no_hypervisor() -> None:
    cluster = snapshot(change={NODE2: {"vm_capable": False}})
    assert found(cluster, {NODE2: said(facts=facts(hypervisors={}), oses=())}) == []


def test_promises_beyond_a_nodes_memory_are_told() -> None:
    big = web(2, node=2, admin_state=AdminState.UP, beparams={"maxmem": 9000, "minmem": 9000})
    codes = [code for _, code, _ in found(snapshot(big), {NODE2: said(up(2))})]
    assert codes == ["ENODEN1"]


def test_an_instance_that_should_be_up_and_is_not() -> None:
    assert found(snapshot(UP)) == [("ERROR", "EINSTANCEDOWN", "web1.example.com")]


def test_an_instance_that_runs_and_should_not() -> None:
    assert found(snapshot(), {NODE1: said(up())}) == [
        ("WARNING", "EINSTANCEDOWN", "web1.example.com")
    ]


def test_an_instance_that_runs_on_another_node() -> None:
    assert ("ERROR", "EINSTANCEWRONGNODE", "web1.example.com") in found(
        snapshot(UP), {NODE2: said(up())}
    )


def test_an_instance_whose_node_is_offline() -> None:
    cluster = snapshot(UP, change={NODE1: {"offline": True}})
    assert found(cluster) == [("ERROR", "EINSTANCEBADNODE", "web1.example.com")]


def test_a_missing_disk_is_told_once_and_of_its_instance() -> None:
    cluster = snapshot(web(disks=(DISK,), disk_template=DiskTemplate.FILE))
    missing = said(problems=(("EINSTANCEMISSINGDISK", DISK.path, "is not there"),))
    assert found(cluster, {NODE1: missing}) == [
        ("ERROR", "EINSTANCEMISSINGDISK", "web1.example.com")
    ]


def test_a_disk_in_a_deeper_directory_is_not_taken_for_missing() -> None:
    assert found(snapshot(web(disks=(DISK,), disk_template=DiskTemplate.FILE))) == []


def test_a_node_without_the_bundle_that_it_is_to_have() -> None:
    before = snapshot()
    [bundle, *_] = BUNDLES
    wanting = Rollout(uuid=before.cluster.uuid, name="hooks", everywhere=1)
    after = before.with_changes(2, [bundle, wanting])
    having: dict[Uuid, Inspection | Unavailable] = {
        node: said(facts=facts(bundles={"hooks": bundle.sha256})) for node in (NODE1, NODE2, NODE3)
    }
    assert found(after, having) == []
    assert found(after, having | {NODE2: said()}) == [
        ("WARNING", "ENODEHOOKS", after.nodes[NODE2].name)
    ]
    none = msgspec.structs.replace(wanting, everywhere=0)
    taken = before.with_changes(2, [bundle, none])
    assert {code for _, code, _ in found(taken, having)} == {"ENODEHOOKS"}
    assert found(taken) == []


def test_a_pool_that_is_not_full_is_told_as_long_as_somebody_could_fill_it() -> None:
    regular = {"master_candidate": False}
    few = ("ERROR", "ECLUSTERCFG", "cluster.example.com")
    assert found(snapshot(change={NODE2: regular})) == [few]
    assert found(snapshot(change={NODE2: regular}, candidate_pool_size=2)) == []
    assert found(snapshot(change={NODE2: {**regular, "drained": True}})) == []
    assert found(snapshot(change={NODE2: {**regular, "master_capable": False}})) == []


MASTERS = {"pki/ca.key": "a", "users": "b", "pki/api.key": "own", "master.json": "own"}


def test_a_candidate_has_what_the_master_has_and_nobody_else_does() -> None:
    def held(**changes: str | None) -> Inspection:
        names = {"ca": "pki/ca.key", "users": "users", "api": "pki/api.key"}
        files = {**MASTERS, **{names[name]: text for name, text in changes.items()}}
        return said(master_files={name: text for name, text in files.items() if text})

    def found_later(
        cluster: Snapshot, answers: dict[Uuid, Inspection | Unavailable]
    ) -> list[tuple[str, str, str]]:
        return found(cluster, answers, 61.0)

    whole: dict[Uuid, Inspection | Unavailable] = {node: held() for node in (NODE1, NODE2, NODE3)}
    wrong = ("ERROR", "ENODEFILECHECK", "node2.example.com")
    assert found_later(snapshot(), {**whole, NODE2: held(api="another", users="b")}) == []
    assert found_later(snapshot(), {**whole, NODE2: held(ca="old")}) == [wrong]
    assert found_later(snapshot(), {**whole, NODE2: held(api=None)}) == [wrong]
    assert found_later(snapshot(), {**whole, NODE2: said()}) == [wrong]
    asleep = msgspec.structs.replace(held(), master_waits=False)
    assert found_later(snapshot(), {**whole, NODE1: asleep, NODE2: asleep}) == [
        ("WARNING", *wrong[1:])
    ]
    regular = snapshot(change={NODE2: {"master_candidate": False}}, candidate_pool_size=2)
    assert found_later(regular, {**whole, NODE2: said(master_waits=False)}) == []
    assert found_later(regular, whole) == [("WARNING", *wrong[1:])]
    assert found(snapshot(), {**whole, NODE2: said()}, 59.0) == [("NOTICE", *wrong[1:])]


def test_records_that_point_nowhere_are_told() -> None:
    cluster = snapshot(web(2, primary_node=Uuid("gone")), change={NODE3: {"group": Uuid("gone")}})
    assert found(cluster) == [
        ("ERROR", "ECLUSTERDANGLINGNODES", "node3.example.com"),
        ("ERROR", "ECLUSTERDANGLINGINST", "web2.example.com"),
    ]


class Ask:
    """Every node says the same."""

    secrets: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, answer: Inspection) -> None:
        self._answer = answer

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        return self._answer

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def examined(cluster: Snapshot, answer: Inspection | None = None, **fields: Any) -> Any:
    operation = registry.load({"OP_ID": "OP_CLUSTER_VERIFY", **fields})
    assert isinstance(operation, ClusterVerify)
    plan = check(cluster, {"OP_ID": "OP_CLUSTER_VERIFY", **fields})
    return await operation.examine(plan, cluster, Ask(answer or said()))


async def test_errors_that_are_ignored_become_warnings() -> None:
    plan = await examined(snapshot(UP), ignore_errors=["EINSTANCEDOWN"])
    assert [one.level for one in plan.findings] == ["WARNING"]


async def test_memory_is_not_checked_where_that_was_asked_for() -> None:
    big = web(admin_state=AdminState.UP, beparams={"maxmem": 9000, "minmem": 9000})
    cluster = snapshot(big)
    codes = {one.code for one in (await examined(cluster)).findings}
    assert "ENODEN1" in codes
    skipped = await examined(cluster, skip_checks=["nplusone_mem"])
    assert "ENODEN1" not in {one.code for one in skipped.findings}


def test_refuses_codes_and_groups_that_do_not_exist() -> None:
    for fields in ({"ignore_errors": ["EWRONG"]}, {"group_name": "other"}):
        with pytest.raises(Rejected):
            check(snapshot(), {"OP_ID": "OP_CLUSTER_VERIFY", **fields})


async def test_thousands_of_findings_fit_into_a_plan() -> None:
    many = [web(number, admin_state=AdminState.UP) for number in range(1, 10001)]
    plan = await examined(snapshot(*many))
    assert len(plan.findings) == MOST + 1
    assert plan.findings[-1].message.endswith("more findings are not shown")
    assert len(msgspec.json.encode(plan)) < 512 * 1024 / 2


def test_errors_are_kept_before_warnings() -> None:
    weak = Finding(code="ENODEVERSION", kind="node", item="n", message="m", level="WARNING")
    strong = Finding(code="ENODERPC", kind="node", item="n", message="m")
    assert verification.shortened([weak] * MOST + [strong])[0] == strong
