"""Guests outlive their agents, and nothing that an agent leaves undone hides one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tests.contract.hypervisors.worlds import KvmWorld, Node, reads

from gantry.hypervisors.kvm import sockets
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.record import Files, Phase
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestState
from gantry.model.names import Uuid

pytestmark = pytest.mark.qemu


def files(world: KvmWorld, uuid: Uuid) -> Files:
    return Files(
        world.root / "var/lib/gantry/guests" / uuid, world.root / "run/gantry/guests" / uuid
    )


async def test_a_guest_survives_the_kill_of_its_agent(node: Node, world: KvmWorld) -> None:
    spec = world.spec("web1.gantry.test")
    agent = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("agent.py"))),
        *(str(world.root), msgspec.json.encode(spec).decode()),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert agent.stdout is not None
    pid = int(await agent.stdout.readline())

    os.killpg(agent.pid, signal.SIGKILL)
    await agent.wait()
    await node.reopen()

    assert node.guest(spec.uuid).state is GuestState.RUNNING
    assert node.guest(spec.uuid).pid == pid
    console = await node.driver.console(spec.uuid)
    await reads(console, b"up")


async def test_a_guest_is_found_by_its_lock_where_its_pid_was_never_written(
    node: Node, world: KvmWorld
) -> None:
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec, paused=True)
    await node.driver.close()
    kept = files(world, spec.uuid)
    record = kept.read()
    assert record is not None
    cut_off = msgspec.structs.replace(record, phase=Phase.STARTING, pid=0, started=0)
    kept.write(cut_off, durably=False)

    await node.reopen()
    assert node.guest(spec.uuid).pid == guest.pid

    # The order is issued again, and finishes what was cut off before `cont`.
    assert (await node.driver.start(spec)).state is GuestState.RUNNING
    assert node.guest(spec.uuid).pid == guest.pid


async def test_a_guest_whose_record_is_lost_is_still_seen_and_stopped(
    node: Node, world: KvmWorld
) -> None:
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec)
    await node.driver.close()
    (files(world, spec.uuid).durable / "record.json").write_text("{")

    await node.reopen()

    assert node.guest(spec.uuid).pid == guest.pid
    await node.driver.stop(spec.uuid, timeout=1, force=True)
    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_no_guest_runs_twice_even_where_an_agent_does_not_know_it(
    node: Node, world: KvmWorld
) -> None:
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec)
    ignorant = world.build()

    with pytest.raises(OperationFailed, match=r"a process of web1\.gantry\.test is still there"):
        await ignorant.start(spec)
    await ignorant.close()

    assert (await node.driver.read_guests())[0] == guest


async def test_a_reboot_of_the_node_is_the_reason_of_a_death(node: Node, world: KvmWorld) -> None:
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec)
    await node.driver.close()
    await world.crash_unseen(guest)
    kept = files(world, spec.uuid)
    record = kept.read()
    assert record is not None
    kept.write(msgspec.structs.replace(record, boot_id="an earlier one"), durably=False)

    await node.reopen()

    assert node.guest(spec.uuid).state is GuestState.DIED
    assert node.guest(spec.uuid).reason == "the node was restarted"


async def test_a_stop_that_was_cut_off_counts_once_the_guest_is_gone(
    node: Node, world: KvmWorld
) -> None:
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec)
    await node.driver.close()
    kept = files(world, spec.uuid)
    record = kept.read()
    assert record is not None
    kept.write(msgspec.structs.replace(record, phase=Phase.STOPPING), durably=False)
    await world.crash_unseen(guest)

    await node.reopen()

    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_qemu_that_hangs_is_up_and_can_be_forced_down(
    node: Node, world: KvmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.hypervisors.kvm.adoption.ANSWER_WITHIN", 0.3)
    monkeypatch.setattr("gantry.hypervisors.kvm.running.QUIT_GRACE", 0.3)
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec)
    os.kill(guest.pid, signal.SIGSTOP)

    await node.reopen()
    (found,) = await node.driver.read_guests()
    assert found.up
    assert "does not answer" in found.reason

    await node.driver.stop(spec.uuid, timeout=1, force=True)
    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_cancelled_start_leaves_nothing(node: Node, world: KvmWorld) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.facts()
    starting = asyncio.create_task(node.driver.start(spec))
    await asyncio.to_thread(_wait_for, files(world, spec.uuid).durable / "record.json")

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert node.driver.guests() == ()
    assert not files(world, spec.uuid).durable.exists()


def _wait_for(path: Path) -> None:
    """Until a file is there; nothing tells it but the directory."""
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)


async def test_a_root_of_any_depth_works(tmp_path: Path) -> None:
    root = tmp_path / ("deep" * 30) / ("deeper" * 30)
    root.mkdir(parents=True)
    world = KvmWorld(root)
    node = await Node(world).open()
    spec = world.spec("web1.gantry.test")

    await node.driver.start(spec)
    await reads(await node.driver.console(spec.uuid), b"up")
    await node.reopen()
    await node.driver.stop(spec.uuid, timeout=1, force=True)

    assert node.guest(spec.uuid).state is GuestState.STOPPED
    await node.driver.close()


def test_a_socket_that_nobody_listens_on_is_an_error(tmp_path: Path) -> None:
    sockets.listen(tmp_path, "monitor").close()
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(tmp_path, "monitor")


async def test_a_dying_qemu_may_be_let_go_of_by_several_at_once(
    node: Node, world: KvmWorld
) -> None:
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec)
    await node.driver.close()
    monitor = await Monitor.open(world.connect(guest, "monitor"), spec.name, lambda *_: None)

    await world.crash_unseen(guest)
    await asyncio.gather(*(monitor.close() for _ in range(3)))

    assert not monitor.usable
    await node.reopen()
    assert node.guest(spec.uuid).state is GuestState.DIED
