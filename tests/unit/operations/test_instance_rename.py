"""What a rename changes, what it refuses, and what is undone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.scene import NODE1, NODE2, WEB1, Given, check, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.model import locks
from gantry.model.entities import AdminState, Disk, DiskTemplate
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import DiskMove, GuestForget, OsRename, Resolve, Resolved
from gantry.operations import registry
from gantry.operations.instance.rename import RenamePlan

OP: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_RENAME",
    "instance_name": "web2",
    "new_name": "WWW.example.com.",
}
STORE = "/srv/ganeti/file-storage"


def disks(*paths: str) -> tuple[Disk, ...]:
    return tuple(
        Disk(uuid=Uuid(f"d{at}"), size=64, template=DiskTemplate.FILE, path=path)
        for at, path in enumerate(paths)
    )


def with_disks(*paths: str, **changes: Any) -> Any:
    return snapshot(web(2, disks=disks(*paths), disk_template=DiskTemplate.FILE, **changes))


def refused(cluster: Any, **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(cluster, {**OP, **changes})
    return caught.value


def test_the_name_and_the_directories_of_that_name_change_and_nothing_else() -> None:
    cluster = with_disks(
        f"{STORE}/web2.example.com/a",
        f"{STORE}/fast/web2.example.com/b",
        f"{STORE}/elsewhere/web2.example.com.c",
    )
    plan: RenamePlan = check(cluster, OP)
    assert plan.after.name == "www.example.com"
    assert [disk.path for disk in plan.after.disks] == [
        f"{STORE}/www.example.com/a",
        f"{STORE}/fast/www.example.com/b",
        f"{STORE}/elsewhere/web2.example.com.c",
    ]
    assert plan.after.serial_no == plan.before.serial_no + 1
    assert plan.reserve == ("name/www.example.com",)


def test_both_names_are_locked() -> None:
    cluster = snapshot(web(2))
    needs = registry.load(OP).needs(cluster)
    instance = cluster.instance("web2")
    taken = {lock for lock, mode in needs.locks if mode is locks.Mode.EXCLUSIVE}
    assert taken == {locks.instance(instance.uuid), locks.instance("www.example.com")}


@pytest.mark.parametrize(
    ("new_name", "reason"),
    [
        ("web1.example.com", Reason.EXISTS),
        ("node1.example.com", Reason.NOT_UNIQUE),
        ("cluster.example.com", Reason.NOT_UNIQUE),
        ("web2.example.com", Reason.INPUT),
        ("../web", Reason.INPUT),
        ("web_2", Reason.INPUT),
        ("", Reason.INPUT),
    ],
)
def test_a_name_that_is_taken_or_no_name_is_refused(new_name: str, reason: Reason) -> None:
    assert refused(snapshot(web(2)), new_name=new_name).reason is reason


def test_an_instance_that_is_up_or_runs_anywhere_is_refused() -> None:
    error = refused(snapshot(web(2, admin_state=AdminState.UP)))
    assert error.reason is Reason.STATE
    assert "gnt-instance shutdown" in (error.hint or "")
    running = snapshot(web(2), nodes={NODE1: live(guests=up(2))})
    assert "running" in refused(running).message
    elsewhere = snapshot(web(2), nodes={NODE2: live(guests=up(2))})
    assert "node2" in refused(elsewhere).message


def test_one_that_is_set_aside_may_be_renamed() -> None:
    plan: RenamePlan = check(snapshot(web(2, admin_state=AdminState.OFFLINE)), OP)
    assert plan.after.admin_state is AdminState.OFFLINE


def test_its_node_must_answer() -> None:
    away = snapshot(web(2), nodes={NODE1: NodeLive(reachable=False)})
    assert refused(away).reason is Reason.ENVIRONMENT
    offline = snapshot(web(2), change={NODE1: {"offline": True}})
    assert refused(offline).reason is Reason.STATE


async def test_disks_move_back_when_it_fails_and_the_script_comes_last() -> None:
    plan: RenamePlan = check(with_disks(f"{STORE}/web2.example.com/a"), OP)
    steps = Written()
    outcome = await registry.load(OP).run(plan, steps)
    (_, node, move, undo), (_, _, script, no_undo) = steps.done
    assert node == NODE1
    assert isinstance(move, DiskMove)
    assert isinstance(undo, DiskMove)
    assert (move.disk.path, move.path) == (undo.path, undo.disk.path)
    assert isinstance(script, OsRename)
    assert no_undo is None
    assert (script.old_name, script.run.name) == ("web2.example.com", "www.example.com")
    assert script.run.disks[0].path == f"{STORE}/www.example.com/a"
    assert outcome.result == "www.example.com"
    [owed] = outcome.cleanup
    assert isinstance(owed.order, GuestForget)


@pytest.mark.parametrize(
    "error", [OperationFailed("exit status 3"), Rejected("the OS definition is not there")]
)
async def test_a_script_that_fails_is_a_warning(error: Exception) -> None:
    plan: RenamePlan = check(snapshot(web(2)), OP)
    steps = Written({"os-rename": error})  # type: ignore[dict-item]  # both are GantryErrors
    outcome = await registry.load(OP).run(plan, steps)
    assert outcome.error is None
    assert [one.name for one in outcome.put] == ["www.example.com"]
    [warning] = steps.warnings
    assert "web2.example.com" in warning
    assert str(error) in warning


async def test_without_an_os_there_is_no_script() -> None:
    plan: RenamePlan = check(snapshot(web(2, os="")), OP)
    steps = Written()
    await registry.load(OP).run(plan, steps)
    assert steps.done == []


async def test_hooks_hear_the_old_name_before_and_after() -> None:
    cluster = with_disks(f"{STORE}/web2.example.com/a")
    plan: RenamePlan = check(cluster, OP)
    operation = registry.load(OP)
    after = cluster.with_changes(2, [plan.after])
    paths = []
    for seen in (cluster, after):
        subject = operation.subject(plan, seen)
        assert subject is not None
        assert subject.instance is not None
        assert subject.instance.name == "web2.example.com"
        assert subject.values == {"INSTANCE_NEW_NAME": "www.example.com"}
        paths.append(subject.instance.disks[0].path)
    assert paths == [f"{STORE}/web2.example.com/a", f"{STORE}/www.example.com/a"]
    assert after.instance("www").uuid != WEB1


class Resolving:
    """An examiner whose node resolves names as the test says."""

    secrets: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, answer: Resolved) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        self.asked.append(question)
        return self.answer

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def resolve(answer: Resolved, **changes: Any) -> list[Any]:
    cluster, ask = snapshot(web(2)), Resolving(answer)
    operation = registry.load({**OP, **changes})
    await operation.examine(operation.check(cluster, Given()), cluster, ask)
    return ask.asked


async def test_a_new_name_that_does_not_resolve_is_refused() -> None:
    with pytest.raises(Rejected, match=r"www\.example\.com does not resolve") as caught:
        await resolve(Resolved(problem="no such host"), name_check=True)
    assert caught.value.reason is Reason.RESOLVER
    with pytest.raises(Rejected, match="something answers"):
        answer = Resolved(address="192.0.2.1", answers=True)
        await resolve(answer, name_check=True, ip_check=True)


async def test_a_name_is_looked_up_only_where_the_cluster_or_the_operator_wants_it() -> None:
    assert await resolve(Resolved()) == []  # this cluster does not
    found = await resolve(Resolved(address="192.0.2.1"), name_check=True)
    assert found == [Resolve(name="www.example.com", ping=False)]
    with pytest.raises(Rejected, match="cannot be checked"):
        await resolve(Resolved(), ip_check=True)
