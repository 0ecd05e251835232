"""What orders do on a node, and what questions answer."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import disk, envelope, guest, hooks, os_run, start, stop

from gantry.model.errors import OperationFailed, Rejected, Unavailable
from gantry.model.hook_orders import HookSequence, ReadHooks
from gantry.model.names import Uuid
from gantry.model.orders import (
    Delay,
    DiskCreate,
    DiskMove,
    DiskRemove,
    FilesWrite,
    GuestForget,
    GuestReset,
    GuestStop,
    HookDirectory,
    Inspect,
    NodeLeave,
    OsCreate,
    OsDiagnose,
    OsRename,
    OsVerify,
    ReadConsole,
    ReadFacts,
    ReadGuests,
    Resolve,
    ScriptStatus,
)
from gantry.ports.agents import Progress

NOBODY = Uuid("00000000-0000-4000-8000-000000000000")


async def test_disks_are_made_and_removed_and_both_may_be_repeated(harness: Harness) -> None:
    one = disk()
    for number in range(2):
        order = DiskCreate(disk=one)
        await harness.agents.order(harness.address, envelope(f"j/make/{number}"), order)
        assert harness.disk_is_there(one.path)
    for number in range(2):
        gone = DiskRemove(disk=one)
        await harness.agents.order(harness.address, envelope(f"j/remove/{number}"), gone)
        assert not harness.disk_is_there(one.path)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/srv/ganeti/file-storage/../../../etc/shadow",
        "srv/ganeti/file-storage/web1/disk0",
        "/srv/ganeti/file-storage-of-others/disk0",
        "/srv/ganeti/file-storage/web1/disk\n0",
    ],
)
async def test_a_disk_outside_of_the_storage_directories_is_refused(
    harness: Harness, path: str
) -> None:
    with pytest.raises(Rejected) as caught:
        await harness.agents.order(harness.address, envelope("j/a"), DiskCreate(disk=disk(path)))
    assert caught.value.node == "node1"
    assert not harness.disk_is_there(path)


async def test_a_guest_starts_resets_stops_and_is_forgotten(harness: Harness) -> None:
    spec = guest()
    live = await harness.agents.order(harness.address, envelope("j/1"), start(spec))
    assert (live.uuid, live.name, live.up) == (spec.uuid, spec.name, True)
    reset = GuestReset(uuid=spec.uuid, hypervisor="fake")
    await harness.agents.order(harness.address, envelope("j/2"), reset)
    await harness.agents.order(harness.address, envelope("j/3"), stop(spec))
    there = await harness.agents.ask(harness.address, ReadGuests(), 5.0)
    assert [live.up for live in there.guests] == [False]
    forget = GuestForget(uuid=spec.uuid, hypervisor="fake")
    await harness.agents.order(harness.address, envelope("j/4"), forget)
    assert (await harness.agents.ask(harness.address, ReadGuests(), 5.0)).guests == ()


async def test_stopping_may_leave_nothing_of_a_guest(harness: Harness) -> None:
    spec = guest()
    await harness.agents.order(harness.address, envelope("j/1"), start(spec))
    order = msgspec.structs.replace(stop(spec), force=True, forget=True)
    for number in range(2):
        await harness.agents.order(harness.address, envelope(f"j/2/{number}"), order)
        assert (await harness.agents.ask(harness.address, ReadGuests(), 5.0)).guests == ()


async def test_stopping_and_forgetting_what_never_was_is_done_already(harness: Harness) -> None:
    await harness.agents.order(harness.address, envelope("j/1"), stop(guest()))
    forget = GuestForget(uuid=NOBODY, hypervisor="fake")
    await harness.agents.order(harness.address, envelope("j/2"), forget)


@pytest.mark.parametrize("uuid", ["../../x", "", "web1.example.com", f"{NOBODY}/x", f"{NOBODY}\n"])
async def test_a_guest_is_known_by_its_uuid_alone(harness: Harness, uuid: str) -> None:
    named = Uuid(uuid)
    for number, order in enumerate(
        (
            GuestStop(uuid=named, hypervisor="fake", timeout=1.0),
            GuestReset(uuid=named, hypervisor="fake"),
            GuestForget(uuid=named, hypervisor="fake"),
        )
    ):
        with pytest.raises(Rejected, match="is not a uuid"):
            await harness.agents.order(harness.address, envelope(f"j/{number}"), order)
    with pytest.raises(Rejected, match="is not a uuid"):
        await harness.agents.ask(harness.address, ReadConsole(uuid=named, hypervisor="fake"), 5.0)


async def test_ssconf_files_are_written(harness: Harness) -> None:
    files = {"ssconf_cluster_name": "cluster.example.com\n", "ssconf_node_list": "node1\nnode2\n"}
    await harness.agents.order(harness.address, envelope("j/1"), FilesWrite(files=files))
    assert harness.file("ssconf_cluster_name") == "cluster.example.com\n"
    assert harness.file("ssconf_node_list") == "node1\nnode2\n"


@pytest.mark.parametrize(
    "name", ["../ssconf_a", "ssconf_a/../../x", "config.data", "ssconf_", "ssconf_a\n", "/ssconf_a"]
)
async def test_no_other_file_is_written(harness: Harness, name: str) -> None:
    files = {"ssconf_good": "good", name: "bad"}
    with pytest.raises(Rejected):
        await harness.agents.order(harness.address, envelope("j/1"), FilesWrite(files=files))
    assert harness.file("ssconf_good") is None


async def test_hook_scripts_run_in_order_and_all_are_reported(harness: Harness) -> None:
    harness.add_hook("instance-start-pre.d", "20-deny", 1, "no")
    harness.add_hook("instance-start-pre.d", "10-allow", 0, "yes")
    ran = await harness.agents.order(harness.address, envelope("j/pre"), hooks())
    assert [(one.script, one.status, one.output.strip()) for one in ran.results] == [
        ("10-allow", ScriptStatus.SUCCEEDED, "yes"),
        ("20-deny", ScriptStatus.FAILED, "no"),
    ]


async def test_a_listing_names_the_scripts_that_would_run_in_their_order(
    harness: Harness,
) -> None:
    harness.add_hook("instance-start-pre.d", "20-deny", 1, "no")
    harness.add_hook("instance-start-pre.d", "10-allow", 0, "yes")
    sequences = tuple(
        HookSequence(directories=(HookDirectory(name=name, version=1),), main_version=1)
        for name in ("instance-start-pre.d", "instance-start-post.d")
    )
    pre, post = (
        await harness.agents.ask(harness.address, ReadHooks(sequences=sequences), 5.0)
    ).sequences
    assert [(one.script, one.version, one.timeout, one.skip) for one in pre] == [
        ("10-allow", 1, 600.0, ""),
        ("20-deny", 1, 600.0, ""),
    ]
    assert post == ()


async def test_a_node_without_hooks_runs_none(harness: Harness) -> None:
    ran = await harness.agents.order(harness.address, envelope("j/pre"), hooks())
    assert ran.results == ()


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".."])
async def test_hooks_directories_cannot_reach_out(harness: Harness, name: str) -> None:
    order = hooks(directories=(HookDirectory(name=name, version=1),))
    with pytest.raises(Rejected):
        await harness.agents.order(harness.address, envelope("j/pre"), order)


async def test_an_os_is_found_checked_and_installed(harness: Harness) -> None:
    harness.add_os("tiny")
    found = await harness.agents.ask(harness.address, OsDiagnose(), 5.0)
    assert [(one.name, one.valid) for one in found.oses] == [("tiny", True)]
    await harness.agents.ask(harness.address, OsVerify(os="tiny"), 5.0)
    one = disk()
    await harness.agents.order(harness.address, envelope("j/1"), DiskCreate(disk=one))
    await harness.agents.order(harness.address, envelope("j/2"), OsCreate(run=os_run("tiny", one)))


async def test_a_disk_moves_and_may_be_moved_again(harness: Harness) -> None:
    one = disk()
    path = "/srv/ganeti/file-storage/www/disk0"
    await harness.agents.order(harness.address, envelope("j/1"), DiskCreate(disk=one))
    for number in range(2):
        order = DiskMove(disk=one, path=path)
        await harness.agents.order(harness.address, envelope(f"j/move/{number}"), order)
        assert harness.disk_is_there(path)
        assert not harness.disk_is_there(one.path)
    await harness.agents.order(harness.address, envelope("j/2"), DiskCreate(disk=one))
    with pytest.raises(Rejected, match="exists already"):
        order = DiskMove(disk=one, path=path)
        await harness.agents.order(harness.address, envelope("j/3"), order)


async def test_a_disk_that_is_nowhere_cannot_move(harness: Harness) -> None:
    order = DiskMove(disk=disk(), path="/srv/ganeti/file-storage/www/disk0")
    with pytest.raises(OperationFailed):
        await harness.agents.order(harness.address, envelope("j/1"), order)


@pytest.mark.parametrize("path", ["/etc/shadow", "/srv/ganeti/file-storage/../x/disk0"])
async def test_a_disk_does_not_move_out_of_the_storage_directories(
    harness: Harness, path: str
) -> None:
    one = disk()
    await harness.agents.order(harness.address, envelope("j/1"), DiskCreate(disk=one))
    with pytest.raises(Rejected):
        order = DiskMove(disk=one, path=path)
        await harness.agents.order(harness.address, envelope("j/2"), order)
    assert harness.disk_is_there(one.path)


async def test_the_rename_script_runs_where_the_disks_are(harness: Harness) -> None:
    harness.add_os("tiny")
    one = disk()
    order = OsRename(run=os_run("tiny", one), old_name="old.example.com")
    await harness.agents.order(harness.address, envelope("j/1"), DiskCreate(disk=one))
    await harness.agents.order(harness.address, envelope("j/2"), order)
    missing = OsRename(run=os_run("other", one), old_name="old.example.com")
    with pytest.raises(Rejected, match="other"):
        await harness.agents.order(harness.address, envelope("j/3"), missing)


async def test_an_os_that_is_not_there_is_refused(harness: Harness) -> None:
    with pytest.raises(Rejected, match="tiny") as caught:
        await harness.agents.ask(harness.address, OsVerify(os="tiny"), 5.0)
    assert caught.value.node == "node1"
    await harness.agents.ask(harness.address, OsVerify(os="tiny", required=False), 5.0)
    with pytest.raises(Rejected, match="tiny"):
        await harness.agents.order(harness.address, envelope("j/1"), OsCreate(run=os_run("tiny")))


async def test_progress_is_told_while_an_order_runs(harness: Harness) -> None:
    harness.add_os("tiny")
    said = list[Progress]()
    order = OsCreate(run=os_run("tiny"))
    await harness.agents.order(harness.address, envelope("j/1"), order, said.append)
    assert "installing tiny" in [line.text for line in said]


async def test_facts_have_the_nodes_resources(harness: Harness) -> None:
    facts = await harness.agents.ask(harness.address, ReadFacts(), 5.0)
    assert 0 < facts.memory_free <= facts.memory_total
    assert 0 < facts.disk_free <= facts.disk_total
    assert facts.cpus > 0
    assert facts.boot_id
    assert facts.hypervisors["fake"].available


async def test_an_inspection_has_everything_in_one_answer(harness: Harness) -> None:
    spec, one = guest(), disk()
    await harness.agents.order(harness.address, envelope("j/1"), DiskCreate(disk=one))
    await harness.agents.order(harness.address, envelope("j/2"), start(spec))
    question = Inspect(storage_dirs=("/srv/ganeti/file-storage",), disks=(one.path,))
    seen = await harness.agents.ask(harness.address, question, 5.0)
    assert seen.disks == (one.path,)
    assert [live.uuid for live in seen.guests] == [spec.uuid]
    assert seen.facts.memory_total > 0


async def test_an_inspection_names_a_missing_disk(harness: Harness) -> None:
    path = "/srv/ganeti/file-storage/web1/disk0"
    seen = await harness.agents.ask(harness.address, Inspect(disks=(path,)), 5.0)
    assert [(code, item) for code, item, _ in seen.problems] == [("EINSTANCEMISSINGDISK", path)]


async def test_a_name_that_does_not_resolve_is_no_error(harness: Harness) -> None:
    found = await harness.agents.ask(harness.address, Resolve(name="nobody.invalid"), 5.0)
    assert found.address is None
    assert "nobody.invalid" in found.problem


async def test_the_console_of_a_guest_that_is_down_is_refused(harness: Harness) -> None:
    with pytest.raises(Rejected):
        await harness.agents.ask(harness.address, ReadConsole(uuid=NOBODY, hypervisor="fake"), 5.0)


async def test_a_node_that_has_left_accepts_nothing_new(harness: Harness) -> None:
    cluster = getattr(harness, "ca", None)
    leave = NodeLeave(cluster=cluster.cluster if cluster else NOBODY)
    await harness.agents.order(harness.address, envelope("j/leave"), leave)
    with pytest.raises(Rejected):
        await harness.agents.order(harness.address, envelope("j/1"), Delay(duration=0.0))
    await harness.agents.order(harness.address, envelope("j/leave"), leave)


async def test_a_node_that_does_not_answer_is_unavailable_by_name(harness: Harness) -> None:
    await harness.disconnect()
    with pytest.raises(Unavailable, match="node1") as caught:
        await harness.agents.order(harness.address, envelope("j/1"), Delay(duration=0.0))
    assert caught.value.node == "node1"
    with pytest.raises(Unavailable):
        await harness.agents.ask(harness.address, ReadFacts(), 5.0)
    with pytest.raises(Unavailable):
        await harness.agents.announce(harness.address, 3)
