"""What is read of exports, and which of them are removed."""

from __future__ import annotations

import msgspec
import pytest
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.fakes.export_files import exported
from tests.fakes.world import NOOP
from tests.faults.situations import UP_WITH_DISK, chain_there, running_with_disk
from tests.unit.operations.scene import snapshot, web

from gantry.jobs import recovery
from gantry.model import export_config, export_facts
from gantry.model.backup_orders import (
    CONFIG,
    FACTS,
    ExportContents,
    ExportFacts,
    ExportList,
    ReadExports,
    ScriptedDisk,
    SnapshotClose,
    SnapshotOpen,
)
from gantry.model.errors import Rejected
from gantry.model.export_facts import Facts
from gantry.model.image_orders import ImageWrite
from gantry.model.increment_orders import ChangesClose, ChangesOpen, ExportAside, MarksDrop
from gantry.model.jobs import JobStatus
from gantry.model.orders import OsCreate, OsInstall, OsRename, TransferOpen
from gantry.operations.backup.export import BackupExport
from gantry.operations.backup.import_ import BackupImport
from gantry.operations.steps import exporting, importing

USER_DATA = "#cloud-config\nusers:\n  # us\n  - name: eve\n\n    sudo: false\n "


def contents(config: str, facts: str, size: int = 1) -> ExportContents:
    return ExportContents(config=config, facts=facts, files={"dump0": size})


def test_parameters_of_several_lines_come_back_as_they_were() -> None:
    given = web(1, os="noop", osparams={"user-data": USER_DATA, "short": "1"})
    private = msgspec.structs.replace(given, osparams_private={"script": USER_DATA})
    config = export_config.write(exporting.config(snapshot(private), private, 1.0))
    facts = msgspec.json.encode(exporting.facts(private, scripted=True)).decode()
    found = importing.source(contents(config, facts)).config
    assert found.osparams == {"user-data": USER_DATA, "short": "1"}
    assert found.osparams_private == {"script": USER_DATA}
    # What was changed by hand in the file counts.
    changed = config.replace("short = 1", "short = 2").replace("name: eve", "name: bob")
    found = importing.source(contents(changed, facts)).config
    assert found.osparams["short"] == "2"
    assert "bob" in found.osparams["user-data"]


def test_a_raw_dump_that_is_larger_than_its_disk_is_refused() -> None:
    files = exported("dump0", os="")
    assert importing.source(contents(files[CONFIG], files[FACTS], 128 << 20)).dumps
    with pytest.raises(Rejected, match="more in dump0 than the 128 MiB"):
        importing.source(contents(files[CONFIG], files[FACTS], 200 << 20))
    scripted = exported("dump0")
    assert importing.source(contents(scripted[CONFIG], scripted[FACTS], 200 << 20)).dumps


def test_what_an_exported_nic_was_in_and_cannot_be_here_is_said() -> None:
    config = exported("dump0")[CONFIG]
    config = config.replace("nic0_network = None", "nic0_network = dmz")
    config = config.replace("nic0_vlan = None", "nic0_vlan = .100")
    found = importing.source(contents(config, ""))
    said: list[str] = []
    [nic] = importing.nics(found, "web7.example.com", snapshot(), said.append)
    assert (nic.network, nic.vlan) == (None, None)
    assert ["in network dmz" in said[0], "in VLAN .100" in said[1]] == [True, True]
    usual = importing.source(contents(exported("dump0")[CONFIG], ""))
    importing.nics(usual, "web7.example.com", snapshot(), said.append)
    assert len(said) == 2


def test_options_that_have_no_effect_are_fields_that_have_none() -> None:
    """Clients of the API pass them, too."""
    plain = {"instance_name": "web1", "target_node": "node2"}
    more = {"zeroing_timeout_fixed": 60, "zeroing_timeout_per_mib": 0.5, "long_sleep": True}
    assert msgspec.convert({**plain, **more}, BackupExport).target_node == "node2"
    import_ = {"instance_name": "web1", "mode": "import", "opportunistic_locking": True}
    import_ |= {"helper_startup_timeout": 300, "helper_shutdown_timeout": 7200}
    import_ |= {"ignore_ipolicy": True, "wait_for_sync": False}
    assert msgspec.convert(import_, BackupImport).src_node is None


async def test_ganeti_s_own_exports_are_not_said_to_be_removed() -> None:
    cluster = await FakeCluster.make([])
    node = cluster.world.nodes[node_uuid(1)]
    theirs = ExportFacts(name="web7.example.com", directory="/srv/ganeti/export", time=5.0)
    node.exports.questions[ReadExports] = lambda question: ExportList((theirs,))
    await cluster.start()
    job = await cluster.run({"OP_ID": "OP_BACKUP_REMOVE", "instance_name": "web7.example.com"})
    assert job.status is JobStatus.ERROR
    assert not [one for one in cluster.agents.calls if isinstance(one.order, ExportAside)]
    await cluster.close()


@pytest.mark.parametrize("incremental", [False, True])
async def test_no_order_about_a_guest_that_goes_on_is_given(incremental: bool) -> None:
    """But that its content is kept, or what has changed in it."""
    cluster = await FakeCluster.make([UP_WITH_DISK])
    (chain_there if incremental else running_with_disk)(cluster)
    await cluster.start()
    op = {
        "OP_ID": "OP_BACKUP_EXPORT",
        "instance_name": "web1",
        "target_node": "node2",
        "shutdown": False,
        "incremental": incremental,
    }
    assert (await cluster.run(op)).status is JobStatus.SUCCESS
    orders = {type(call.order) for call in cluster.agents.calls}
    kept = {ChangesOpen, ChangesClose, MarksDrop} if incremental else {SnapshotOpen, SnapshotClose}
    about = {one for one in orders if one in kept or one.__name__.startswith("Guest")}
    assert about == kept
    await cluster.close()


async def test_what_another_instance_of_that_name_had_exported_is_said_and_elsewhere_left() -> None:
    """The one that is exported here was made after the other one was renamed."""
    cluster = await FakeCluster.make([UP_WITH_DISK])
    running_with_disk(cluster)
    files = exported("dump0", os="")
    theirs = {**files, FACTS: export_facts.encode(Facts(instance="another"))}
    for number in (2, 3):
        cluster.world.nodes[node_uuid(number)].exports.whole[UP_WITH_DISK.name] = dict(theirs)
    await cluster.start()
    op = {"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web1", "target_node": "node2"}
    job = await cluster.run(op)
    assert job.status is JobStatus.SUCCESS
    said = [line.text for line in await cluster.engine.log(job.id)]
    assert any("is of another instance, which was called web1" in line for line in said)
    there = {
        number: cluster.world.nodes[node_uuid(number)].exports.whole[UP_WITH_DISK.name]
        for number in (2, 3)
    }
    assert there[2][FACTS] != theirs[FACTS]
    assert there[3] == theirs
    await cluster.close()


async def test_an_import_restores_what_was_exported_and_installs_nothing() -> None:
    """Whatever the definition installs with; an image is none of an import's business either."""
    cluster = await FakeCluster.make([])
    for node in cluster.world.nodes.values():
        node.oses += (msgspec.structs.replace(NOOP, name="apart", trusted=False),)
    files = exported("dump0", os="apart")
    image = "https://me:password@images.example.com/web.img"
    files[CONFIG] = files[CONFIG].replace("[os]\n", f"[os]\nos-image = {image}\n")
    assert image in files[CONFIG]
    cluster.world.nodes[node_uuid(3)].exports.whole["web7.example.com"] = files
    await cluster.start()
    job = await cluster.run(
        {
            "OP_ID": "OP_INSTANCE_CREATE",
            "mode": "import",
            "instance_name": "web7.example.com",
            "src_node": "node3",
            "src_path": "web7.example.com",
            "pnode": "node2",
        }
    )
    said = [line.text for line in await cluster.engine.log(job.id)]
    assert job.status is JobStatus.SUCCESS, said
    orders = [one.order for one in cluster.agents.calls]
    assert not [one for one in orders if isinstance(one, (OsCreate, OsInstall, ImageWrite))]
    [opened] = [one for one in orders if isinstance(one, TransferOpen)]
    assert isinstance(opened.place, ScriptedDisk)
    assert [one.run.os for one in orders if isinstance(one, OsRename)] == ["apart"]
    # What everybody can read has no password in it.
    assert any("os-image has a password in it, and is left out" in line for line in said)
    assert "password@" not in str(said)
    [made] = (await recovery.read_snapshot(cluster.store)).instances.values()
    assert made.osparams == {}
    await cluster.close()
