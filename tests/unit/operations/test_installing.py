"""What installs an instance: a script on the node, one in a guest of its own, or an image."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.world import NOOP
from tests.faults.situations import NAMED, WITH_IMAGE, images_there
from tests.unit.operations.scene import (
    FILE,
    NODE1,
    NODE2,
    check,
    facts,
    live,
    settings,
    snapshot,
    web,
)
from tests.unit.operations.steps import Written

from gantry.jobs import recovery
from gantry.model.entities import Disk, DiskTemplate, HypervisorName
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.image_orders import ImageFacts, ImageWrite, ReadImage
from gantry.model.jobs import JobStatus
from gantry.model.live import HypervisorFacts
from gantry.model.names import Uuid
from gantry.model.orders import HooksRun, InstallationGuest, OsInstall
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations import registry
from gantry.operations.base import Plan

APART = msgspec.structs.replace(NOOP, name="apart", trusted=False)
IMAGE = "/srv/images/install.img"
HERE = HypervisorFacts(available=True, version="1", machine="pc-1.0", cpu_model="any")
DISK = Disk(uuid=Uuid("d0"), size=64, template=DiskTemplate.FILE, path="/srv/x/disk0")
ADD: dict[str, Any] = {
    **FILE,
    "os_type": "apart",
    "pnode": "node2",
    "hypervisor": "kvm",
    "start": False,
    "beparams": {"memory": 256, "vcpus": 2},
}
REINSTALL: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": "web2"}


def cluster(*objects: Any, memory: int = 4096, **changes: Any) -> Snapshot:
    """With a definition that is not trusted, and an image for it."""
    told = facts(
        (NOOP, APART),
        hypervisors={"kvm": HERE, "fake": HERE},
        memory_free=memory,
        memory_total=memory,
    )
    found = snapshot(*objects, nodes={NODE1: live(told), NODE2: live(told)})
    every = {
        "enabled_hypervisors": (HypervisorName.FAKE, HypervisorName.KVM),
        "install_image": IMAGE,
        **changes,
    }
    return found.with_changes(found.revision, [settings(found, **every)])


def installed(**changes: Any) -> Snapshot:
    """With a stopped instance of that definition."""
    fields = {
        "disks": (DISK,),
        "disk_template": DiskTemplate.FILE,
        "os": "apart",
        "hypervisor": HypervisorName.KVM,
        **changes,
    }
    return cluster(web(2, **fields))


def refused(where: Snapshot, op: dict[str, Any], **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(where, {**op, **changes})
    return caught.value


async def done(op: dict[str, Any], plan: Plan, **failing: OperationFailed) -> Written:
    steps = Written(failing={name.replace("_", "-"): error for name, error in failing.items()})
    await registry.load(op).run(plan, steps)
    return steps


class Answers:
    """An examiner with images of these sizes (MiB) on the nodes."""

    def __init__(self, **images: int) -> None:
        self.secrets: dict[str, str] = {}
        self.asked: list[str] = []
        self._images = images

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        if isinstance(question, ReadImage):
            self.asked.append(question.image)
            served = self._images.get(question.image.removeprefix("http://"), 0)
            here = self._images.get(question.image.strip("/"), 1)
            return ImageFacts(size=here << 20, download=served << 20)
        return None

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def test_a_script_that_is_not_trusted_runs_in_a_guest() -> None:
    plan = check(cluster(), ADD)
    steps = await done(ADD, plan)
    [script] = [order for _, _, order, _ in steps.done if isinstance(order, OsInstall)]
    assert script.run.os == "apart"
    assert not script.reinstall
    assert script.guest == InstallationGuest(
        image=IMAGE, memory=256, vcpus=2, startup=300.0, shutdown=7200.0
    )
    assert any("installation guest" in line for line in steps.lines)


def test_a_guest_that_installs_counts_where_the_instance_itself_stays_down() -> None:
    assert Claim(node=NODE2, memory=256, disk=128) in check(cluster(), ADD).claims
    error = refused(cluster(memory=200), ADD)
    assert "needs 256 MiB of memory" in error.message
    error = refused(installed(beparams={"maxmem": 8192}), REINSTALL)
    assert "needs 8192 MiB of memory" in error.message


def test_how_long_it_may_take_can_be_said() -> None:
    plan = check(cluster(), {**ADD, "helper_startup_timeout": 20, "helper_shutdown_timeout": 30})
    assert (plan.installing.guest.startup, plan.installing.guest.shutdown) == (20.0, 30.0)
    for number in (0, 86401):
        error = refused(cluster(), ADD, helper_startup_timeout=number)
        assert f"1 to 86400 seconds, not {number}" in error.message


def test_without_an_image_it_is_refused_before_anything_is_touched() -> None:
    error = refused(cluster(install_image=""), ADD)
    assert "no image to boot that from" in error.message
    assert "gnt-cluster modify --install-image" in error.hint


def test_without_guests_it_is_refused() -> None:
    error = refused(cluster(), ADD, hypervisor="fake")
    assert "hypervisor fake runs none" in error.message


async def test_an_image_that_is_not_there_is_refused_before_anything_is_touched() -> None:
    operation = registry.load(ADD)
    where = cluster()
    asked = Answers()
    await operation.examine(check(where, ADD), where, asked)
    assert asked.asked == [IMAGE]


async def test_a_trusted_definition_needs_neither() -> None:
    op = {**ADD, "os_type": "noop"}
    where = cluster(install_image="")
    plan = check(where, op)
    assert plan.installing.guest is None
    asked = Answers()
    await registry.load(op).examine(plan, where, asked)
    assert asked.asked == []
    assert "os-create" in [name for name, _, _, _ in (await done(op, plan)).done]


async def test_a_reinstallation_runs_it_in_a_guest_too() -> None:
    plan = check(installed(), {**REINSTALL, "helper_shutdown_timeout": 60})
    steps = await done(REINSTALL, plan)
    [(name, node, order, undo)] = steps.done
    assert (name, node, undo) == ("os-create", NODE1, None)
    assert isinstance(order, OsInstall)
    assert order.reinstall
    assert order.guest.shutdown == 60.0


async def test_an_image_takes_the_place_of_a_definition() -> None:
    op = {**ADD, "os_type": None, "osparams": {"os-image": "/srv/images/web.qcow2"}}
    where = cluster()
    plan = check(where, op)
    assert plan.instance.os == ""
    steps = await done(op, plan)
    [image] = [order for _, _, order, _ in steps.done if isinstance(order, ImageWrite)]
    assert image.image == "/srv/images/web.qcow2"
    assert image.disk.path == plan.instance.disks[0].path
    assert "os-create" not in [name for name, _, _, _ in steps.done]


async def test_an_image_that_needs_a_larger_disk_is_refused() -> None:
    op = {**ADD, "os_type": None, "osparams": {"os-image": "/big"}}
    where = cluster()
    with pytest.raises(Rejected, match="needs a disk of 2048 MiB, disk 0 of new") as caught:
        await registry.load(op).examine(check(where, op), where, Answers(big=2048))
    assert "larger" in caught.value.hint


async def test_an_image_whose_server_has_more_than_fits_is_refused() -> None:
    op = {**ADD, "os_type": None, "osparams": {"os-image": "http://big"}}
    where = cluster()
    # The disk has 128 MiB.
    with pytest.raises(Rejected, match="big has 153 MiB, of which at most 152 are fetched"):
        await registry.load(op).examine(check(where, op), where, Answers(big=153))
    await registry.load(op).examine(check(where, op), where, Answers(big=152))
    where = cluster(install_image="http://big")
    with pytest.raises(Rejected, match="at most 16384 are fetched"):
        await registry.load(ADD).examine(check(where, ADD), where, Answers(big=16385))


async def test_with_an_image_create_does_not_run_and_create_untrusted_does() -> None:
    """As with Ganeti: a script of that kind may make the image the instance's own."""
    given = {"os-image": "https://images.example.com/web.img"}
    names = {}
    for os in ("noop", "apart"):
        op = {**ADD, "os_type": os, "osparams": given}
        steps = await done(op, check(cluster(), op))
        names[os] = [name for name, _, _, _ in steps.done if name.startswith("os-")]
    assert names == {"noop": ["os-image"], "apart": ["os-image", "os-create"]}


@pytest.mark.parametrize(
    "image", ["web.img", "file:///etc/shadow", "/a/../b", "http://a b", "/a\nb"]
)
def test_what_is_no_image_is_refused(image: str) -> None:
    error = refused(cluster(), ADD, osparams={"os-image": image})
    assert "absolute path" in error.hint
    modify = {"OP_ID": "OP_CLUSTER_SET_PARAMS", "install_image": image}
    assert "the install image" in refused(cluster(), modify).message


def test_the_clusters_image_is_set_and_taken_away() -> None:
    modify = {"OP_ID": "OP_CLUSTER_SET_PARAMS"}
    url = "https://images.example.com/install.img"
    assert check(cluster(), {**modify, "install_image": url}).after.install_image == url
    for nothing in ("", "none"):
        assert check(cluster(), {**modify, "install_image": nothing}).after.install_image == ""


SECRET_URL = "https://me:secret@example.com/a?signature=secret"


async def test_passwords_of_urls_are_in_no_log() -> None:
    op = {**ADD, "os_type": "apart", "osparams_private": {"os-image": SECRET_URL}}
    plan = check(cluster(), op)
    steps = await done(op, plan)
    assert "writing the image https://example.com/a to disk 0..." in steps.lines
    assert "secret" not in str(steps.lines)
    [image] = [order for _, _, order, _ in steps.done if isinstance(order, ImageWrite)]
    assert image.image == SECRET_URL
    # Nor has the script, which is not trusted, any use for it.
    [script] = [order for _, _, order, _ in steps.done if isinstance(order, OsInstall)]
    assert "secret" not in str(script)


def test_passwords_of_urls_are_refused_where_everybody_could_read_them() -> None:
    there = installed(os="noop", hypervisor=HypervisorName.FAKE)
    public = {"osparams": {"os-image": SECRET_URL}}
    change = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web2"}
    for where, op, more in (
        (cluster(), ADD, public),
        (cluster(), ADD, {**public, "no_install": True}),
        (there, REINSTALL, public),
        (there, change, public),
        (there, {"OP_ID": "OP_CLUSTER_SET_PARAMS"}, {"install_image": SECRET_URL}),
    ):
        error = refused(where, op, **more)
        assert "has a name and a password in it, which everybody could read" in error.message
        assert "--os-parameters-private os-image=URL" in error.hint
        assert "secret" not in f"{error.message} {error.hint}"


def test_a_private_image_is_kept_and_no_error_shows_it() -> None:
    there = installed(os="noop", hypervisor=HypervisorName.FAKE)
    change = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web2"}
    private = {"osparams_private": {"os-image": SECRET_URL}}
    plan = check(there, {**change, **private})
    assert plan.after.osparams_private == {"os-image": SECRET_URL}
    assert "secret" not in str(plan.told)
    assert check(there, {**REINSTALL, **private}).installing.image == SECRET_URL
    error = refused(there, change, osparams_private={"os-image": "file:///secret"})
    assert "secret" not in f"{error.message} {error.hint}"
    assert "absolute path" in error.hint
    both = {**private, "osparams": {"os-image": "/srv/images/a"}}
    assert "os-image" in refused(there, REINSTALL, **both).message
    assert "os-image" in refused(cluster(), {**ADD, "os_type": None}, **both).message


async def test_an_image_that_cannot_be_written_marks_a_reinstalled_instance() -> None:
    op = {**REINSTALL, "osparams": {"os-image": "/srv/images/web.img"}}
    plan = check(installed(os="noop", hypervisor=HypervisorName.FAKE), op)
    steps = Written(failing={"os-image": OperationFailed("no room left")})
    outcome = await registry.load(op).run(plan, steps)
    assert "gantry:install-failed" in outcome.put[0].tags
    assert outcome.error is not None
    marked = registry.load(op).remains(plan, frozenset({"os-image"}))
    assert "gantry:install-failed" in marked[0].tags


def test_an_instance_without_an_os_is_made_anew_from_its_image_only() -> None:
    error = refused(installed(os=""), REINSTALL)
    assert "-O os-image=FILE|URL" in error.hint
    plan = check(installed(os="", osparams={"os-image": "/srv/images/web.img"}), REINSTALL)
    assert plan.installing.image == "/srv/images/web.img"


@pytest.mark.parametrize("fails", [False, True])
async def test_hooks_of_a_reinstallation_run_before_and_after_it(fails: bool) -> None:
    """In both phases on the instance's nodes; where it fails, the fail scripts in place of post."""
    there = msgspec.structs.replace(NAMED, os="apart", hypervisor=HypervisorName.KVM)
    made = await FakeCluster.make([WITH_IMAGE, there])
    images_there(made)
    for node in made.world.nodes.values():
        node.failing_oses = {"apart"} if fails else set()
    await made.start()
    job = await made.run({"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": "web1"})
    happened = [
        order.directories[0].name if isinstance(order, HooksRun) else "the guest"
        for order in (one.order for one in made.agents.calls)
        if isinstance(order, (HooksRun, OsInstall))
    ]
    told = [name for name in dict.fromkeys(happened) if "config-update" not in name]
    last = "instance-reinstall-fail.d" if fails else "instance-reinstall-post.d"
    assert told == ["instance-reinstall-pre.d", "the guest", last]
    assert job.status is (JobStatus.ERROR if fails else JobStatus.SUCCESS)
    [after] = (await recovery.read_snapshot(made.store)).instances.values()
    assert ("gantry:install-failed" in after.tags) is fails
    await made.close()
