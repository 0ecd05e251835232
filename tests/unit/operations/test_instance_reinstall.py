"""With what an instance is installed again, what is refused before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.world import NOOP
from tests.unit.operations.scene import NODE1, Given, check, facts, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.model.entities import AdminState, Disk, DiskTemplate, Instance
from gantry.model.errors import OperationFailed, Reason, Rejected, Unavailable
from gantry.model.live import OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import OsCreate, OsVerify
from gantry.operations import registry
from gantry.operations.instance.reinstall import FAILED_INSTALL, ReinstallPlan

OP: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": "web2"}
DEBIAN = OsFacts(name="debian", path="/srv/ganeti/os/debian", api_versions=(20,), digest="d")
DISK = Disk(uuid=Uuid("d0"), size=64, template=DiskTemplate.FILE, path="/srv/x/disk0")


def cluster(**changes: Any) -> Any:
    fields: dict[str, Any] = {"disks": (DISK,), "disk_template": DiskTemplate.FILE, **changes}
    answers = {NODE1: live(facts((NOOP, DEBIAN)))}
    return snapshot(web(2, **fields), nodes=answers)


def refused(where: Any, **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(where, {**OP, **changes})
    return caught.value


class Asked:
    """An examiner that remembers."""

    def __init__(self, secrets: dict[str, str] | None = None) -> None:
        self.secrets = secrets or {}
        self.questions: list[Any] = []
        self.timeouts: list[float] = []

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        self.questions.append((node, question))
        self.timeouts.append(timeout)

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def run(plan: ReinstallPlan, steps: Written, **changes: Any) -> Any:
    return await registry.load({**OP, **changes}).run(plan, steps)


async def test_the_same_os_again() -> None:
    plan: ReinstallPlan = check(cluster(), OP)
    steps = Written()
    outcome = await run(plan, steps)
    [(name, node, order, undo)] = steps.done
    assert (name, node, undo) == ("os-create", NODE1, None)
    assert isinstance(order, OsCreate)
    assert order.reinstall
    assert order.run.os == "noop"
    assert outcome.put == (plan.after,)


async def test_another_os_stays() -> None:
    plan: ReinstallPlan = check(cluster(), {**OP, "os_type": "debian+trixie"})
    assert plan.told.os == plan.after.os == "debian+trixie"


async def test_parameters_are_for_this_once_unless_they_are_to_be_kept() -> None:
    where = cluster(osparams={"a": "1", "b": "2"}, osparams_private={"key": "x"})
    given = {"osparams": {"a": "default", "c": "3"}, "osparams_private": {"key": "y"}}
    once: ReinstallPlan = check(where, {**OP, **given})
    assert once.told.parameters == {"b": "2", "c": "3"}
    assert once.told.private_parameters == {"key": "y"}
    assert (once.after.osparams, once.after.osparams_private) == (
        {"a": "1", "b": "2"},
        {"key": "x"},
    )
    kept: ReinstallPlan = check(where, {**OP, **given, "store_osparams": True})
    assert kept.told.parameters == {"b": "2", "c": "3"}
    assert (kept.after.osparams, kept.after.osparams_private) == (
        {"b": "2", "c": "3"},
        {"key": "y"},
    )
    for plan, said in ((once, "not kept"), (kept, "kept with the instance")):
        steps = Written()
        await run(plan, steps, **given, store_osparams=said != "not kept")
        assert any(said in line for line in steps.lines)


async def test_verify_is_asked_with_what_the_script_will_get() -> None:
    where = cluster(osparams={"a": "1"})
    op = registry.load({**OP, "os_type": "debian", "force_variant": True})
    asked = Asked({"password": "s"})
    await op.examine(op.check(where, Given()), where, asked)
    [(node, question)] = asked.questions
    assert node == NODE1
    assert question == OsVerify(
        os="debian", parameters={"a": "1"}, secret_parameters={"password": "s"}, force_variant=True
    )


async def test_a_parameter_of_two_kinds_is_refused_without_its_value() -> None:
    where = cluster(osparams={"pass-word": "hunter2"})
    error = refused(where, osparams_private={"PASS_WORD": "swordfish"})
    assert "OSP_PASS_WORD" in error.message
    assert "hunter2" not in error.message + (error.hint or "")
    op = registry.load(OP)
    with pytest.raises(Rejected, match="secret"):
        await op.examine(op.check(where, Given()), where, Asked({"pass-word": "x"}))


def test_it_must_be_down_with_disks_and_an_os() -> None:
    assert refused(cluster(admin_state=AdminState.UP)).reason is Reason.STATE
    runs = snapshot(
        web(2, disks=(DISK,), disk_template=DiskTemplate.FILE), nodes={NODE1: live(guests=up(2))}
    )
    assert "running" in refused(runs).message
    assert "no disks" in refused(cluster(disks=())).message
    assert "-o" in (refused(cluster(os="")).hint or "")
    assert "nosuch" in refused(cluster(), os_type="nosuch").message


@pytest.mark.parametrize(("listed", "os_type"), [("debian", "debian+x"), ("debian+x", "debian+x")])
def test_the_blacklist_holds(listed: str, os_type: str) -> None:
    where = snapshot(
        web(2, disks=(DISK,), disk_template=DiskTemplate.FILE),
        nodes={NODE1: live(facts((NOOP, DEBIAN)))},
        blacklisted_os=(listed,),
    )
    error = refused(where, os_type=os_type)
    assert "blacklisted" in error.message
    assert error.hint == f"gnt-os modify --blacklisted=no {listed} allows it"


@pytest.mark.parametrize(
    "error", [OperationFailed("exit status 3"), Unavailable("the node does not answer")]
)
async def test_a_failure_leaves_the_instance_marked_and_says_so(error: Any) -> None:
    plan: ReinstallPlan = check(cluster(tags=("a",)), {**OP, "os_type": "debian"})
    steps = Written({"os-create": error})
    outcome = await run(plan, steps)
    [kept] = outcome.put
    assert isinstance(kept, Instance)
    assert (kept.os, kept.tags, kept.admin_state) == (
        "debian",
        ("a", FAILED_INSTALL),
        AdminState.DOWN,
    )
    assert outcome.error is not None
    assert str(error) in outcome.error.message
    assert FAILED_INSTALL in steps.warnings[0]


async def test_what_the_node_refuses_has_touched_nothing() -> None:
    plan: ReinstallPlan = check(cluster(), OP)
    with pytest.raises(Rejected):
        await run(plan, Written({"os-create": Rejected("the definition is not valid")}))


async def test_a_success_takes_the_mark_away() -> None:
    plan: ReinstallPlan = check(cluster(tags=("a", FAILED_INSTALL)), OP)
    assert plan.after.tags == ("a",)


async def test_a_start_warns_of_what_is_not_known_of_its_disks() -> None:
    start = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web2"}
    for tags, warnings in (((FAILED_INSTALL,), 1), (("a",), 0)):
        steps = Written()
        await registry.load(start).run(check(cluster(tags=tags), start), steps)
        assert (
            len([line for line in steps.warnings if "gnt-instance reinstall" in line]) == warnings
        )
