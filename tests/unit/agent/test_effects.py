"""The rules of effects that need no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gantry.agent.effect import Effect, Task
from gantry.agent.effects import Effects
from gantry.agent.memory import Memory
from gantry.host.clock import boottime
from gantry.model.backup_orders import Compression, DumpFile, Peer, Way
from gantry.model.errors import OperationFailed, Rejected, Stopping, Superseded
from gantry.model.names import Uuid
from gantry.model.orders import Delay, HooksRun, Nothing, TransferSend
from gantry.ports.agents import Envelope
from gantry.rpc import wire

NODE, OTHER = Uuid("node"), Uuid("other")


class Machine:
    """Effects over a file, which may be opened again as after a crash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.memory = Memory(path)
        self.effects = Effects(self.memory, "node1")

    async def crash(self) -> None:
        # What is ended while the agent ends is left in the memory as it was.
        await self.effects.close(0.0)
        self.memory.close()
        self.memory = Memory(self.path)
        self.effects = Effects(self.memory, "node1")
        self.effects.recover()

    def envelope(self, key: str, **changes: float) -> Envelope:
        """Timed on the machine's clock; ``lease`` is in seconds from now."""
        made = envelope(key, **changes)
        return msgspec.structs.replace(made, clock=self.effects.moment().clock)

    def quick(self, key: str, duration: float = 0.0, **changes: float) -> Effect:
        async def work(task: Task) -> Nothing:
            self.done.append(key)
            return Nothing()

        order = Delay(duration=duration)
        return self.effects.begin(self.envelope(key, **changes), order, work)

    def slow(self, key: str, **changes: float) -> Effect:
        async def work(task: Task) -> Nothing:
            self.started.set()
            await self.gate.wait()
            self.done.append(key)
            return Nothing()

        return self.effects.begin(self.envelope(key, **changes), Delay(duration=9.0), work)


def envelope(key: str, *, epoch: float = 1, lease: float = 10.0, timeout: float = 10.0) -> Envelope:
    until = boottime() + lease
    return Envelope(key=key, job=1, epoch=int(epoch), until=until, timeout=timeout)


async def outcome(effect: Effect) -> wire.Line:
    async with asyncio.timeout(100):
        with effect.lines() as lines:
            while True:
                line = msgspec.json.decode(await lines.get(), type=wire.Line)
                if line.progress is None:
                    return line


async def code(effect: Effect) -> str:
    error = (await outcome(effect)).error
    return error.code if error else ""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path / "agent.db")
    yield made
    await made.effects.close(0.0)
    made.memory.close()


async def test_what_waits_is_not_done_for_a_master_that_was_replaced(machine: Machine) -> None:
    first, second = machine.slow("j/1"), machine.quick("j/2")
    await machine.started.wait()
    machine.effects.announce(2, NODE)
    machine.gate.set()
    assert await code(first) == ""
    assert await code(second) == "superseded"
    assert machine.done == ["j/1"]
    # It was not remembered: the new master may issue it.
    assert await code(machine.quick("j/2", epoch=2)) == ""


async def test_what_waits_is_done_for_the_new_master_that_attached(machine: Machine) -> None:
    first, second = machine.slow("j/1"), machine.quick("j/2")
    await machine.started.wait()
    machine.effects.announce(2, NODE)
    assert machine.quick("j/2", epoch=2) is second
    machine.gate.set()
    assert [await code(first), await code(second)] == ["", ""]


async def test_what_waits_longer_than_the_lease_is_refused(machine: Machine) -> None:
    machine.slow("j/1", lease=0.5)
    second = machine.quick("j/2", lease=0.5)
    asyncio.get_running_loop().call_later(0.7, machine.gate.set)
    error = (await outcome(second)).error
    assert error is not None
    assert error.code == "too-late"
    assert machine.done == ["j/1"]


async def test_later_words_of_the_same_master_renew_its_lease(machine: Machine) -> None:
    first = machine.slow("j/1", lease=0.05)
    second = machine.quick("j/2", lease=0.05)
    machine.quick("k/1", lease=30.0)
    asyncio.get_running_loop().call_later(0.1, machine.gate.set)
    assert [await code(first), await code(second)] == ["", ""]


async def test_an_order_that_is_cancelled_before_its_first_step_has_an_end(
    machine: Machine,
) -> None:
    effect = machine.quick("j/1")
    await machine.effects.cancel("j/1", 1)
    assert await code(effect) == "cancelled"
    assert machine.done == []


async def test_a_fault_of_ours_ends_the_order_and_not_the_agent(machine: Machine) -> None:
    async def work(task: Task) -> Nothing:
        raise ZeroDivisionError

    effect = machine.effects.begin(machine.envelope("j/1"), Delay(duration=0.0), work)
    assert await code(effect) == "failed"
    assert await code(machine.quick("j/2")) == ""


async def test_debris_of_a_job_waits_for_that_jobs_orders(machine: Machine) -> None:
    running, owed = machine.slow("j/1"), machine.quick("debris/j/0/0/x")
    machine.gate.set()
    await asyncio.gather(code(owed), code(running))
    assert machine.done == ["j/1", "debris/j/0/0/x"]


async def test_no_queue_is_left_behind(machine: Machine) -> None:
    for number in range(3):
        await code(machine.quick(f"j{number}/1"))
    turns = machine.effects._turns
    assert not turns._locks
    assert not turns._users


async def test_a_slow_reader_misses_progress_but_not_the_end(machine: Machine) -> None:
    async def work(task: Task) -> Nothing:
        for number in range(5000):
            task.say(str(number))
        return Nothing()

    effect = machine.effects.begin(machine.envelope("j/1"), Delay(duration=0.0), work)
    assert effect.task is not None
    with effect.lines() as lines:
        await effect.task
        assert lines.qsize() == 1000
        last = b""
        while not lines.empty():
            last = lines.get_nowait()
    assert last == effect.outcome


async def test_scripts_are_interrupted_by_a_crash_and_run_again_as_a_new_attempt(
    machine: Machine,
) -> None:
    def hooks(attempt: int) -> HooksRun:
        return HooksRun(
            directories=(),
            environments={},
            main_version=1,
            job=1,
            run_id="r",
            attempt=attempt,
        )

    async def forever(task: Task) -> Nothing:
        await asyncio.Event().wait()
        return Nothing()

    async def work(task: Task) -> Nothing:
        return Nothing()

    machine.effects.begin(machine.envelope("j/pre"), HOOKS, forever)
    await machine.crash()
    assert (
        await code(machine.effects.begin(machine.envelope("j/pre"), HOOKS, work)) == "interrupted"
    )
    assert await code(machine.effects.begin(machine.envelope("j/pre"), hooks(2), work)) == ""
    assert await code(machine.effects.begin(machine.envelope("j/pre"), hooks(3), forever)) == ""


async def test_a_transfer_that_is_interrupted_is_not_called_a_script(machine: Machine) -> None:
    """Raw disks are sent by QEMU's programs: the operator would look for a script in vain."""

    async def forever(task: Task) -> Nothing:
        await asyncio.Event().wait()
        return Nothing()

    machine.effects.begin(machine.envelope("j/pre"), HOOKS, forever)
    machine.effects.begin(machine.envelope("k/send"), SEND, forever)
    await machine.crash()
    for key, order, during in (
        ("j/pre", HOOKS, "while the script ran"),
        ("k/send", SEND, "in the middle of a transfer"),
    ):
        found = await outcome(machine.effects.begin(machine.envelope(key), order, forever))
        assert found.error is not None
        assert found.error.message == (
            f"the agent was restarted {during}; its processes were ended"
        )


async def test_the_epoch_outlives_a_crash(machine: Machine) -> None:
    machine.effects.announce(7, NODE)
    await machine.crash()
    with pytest.raises(Superseded, match="7"):
        machine.quick("j/1", epoch=6)
    before = machine.effects.announce(8, OTHER)
    assert (before.epoch, before.node) == (7, NODE)


async def test_an_empty_prefix_forgets_nothing(machine: Machine) -> None:
    await code(machine.quick("j/1"))
    machine.effects.forget([""], 1)
    with pytest.raises(Rejected):
        machine.quick("j/1", duration=1.0)


async def test_old_effects_are_pruned_and_running_scripts_are_not(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "agent.db")
    memory.put("j/old", b"d", b"done", 100.0)
    memory.put("j/new", b"d", b"done", 300.0)
    memory.put("j/script", b"d", None, 100.0)
    memory.prune(200.0)
    assert [memory.get(key) is None for key in ("j/old", "j/new", "j/script")] == [
        True,
        False,
        False,
    ]
    memory.close()


SEND = TransferSend(
    transfer=OTHER,
    way=Way.BLOCKS,
    compress=Compression.NONE,
    peer=Peer(node=OTHER, name="node2", host="127.0.0.1"),
    port=1,
    place=DumpFile(instance="web1.example.com", name="disk0"),
)
HOOKS = HooksRun(directories=(), environments={}, main_version=1, job=1, run_id="r", attempt=1)


async def test_what_was_done_is_answered_where_it_cannot_be_remembered(machine: Machine) -> None:
    effect = machine.slow("j/1")
    await machine.started.wait()
    # SQLite says much the same as where the disk is full or has become read-only.
    machine.memory._database.execute("PRAGMA query_only=1")
    machine.gate.set()
    assert await code(effect) == ""
    assert machine.done == ["j/1"]


async def test_scripts_whose_begin_cannot_be_noted_down_do_not_run(machine: Machine) -> None:
    machine.memory._database.execute("PRAGMA query_only=1")
    done = []

    async def work(task: Task) -> Nothing:
        done.append(task.envelope.key)
        return Nothing()

    for epoch, job in ((0, 0), (0, 1), (1, 1)):
        given = msgspec.structs.replace(machine.envelope("j/1", epoch=epoch), job=job)
        with pytest.raises(OperationFailed, match="cannot note down"):
            machine.effects.begin(given, HOOKS, work)
    machine.memory._database.execute("PRAGMA query_only=0")
    assert await code(machine.effects.begin(machine.envelope("j/1"), HOOKS, work)) == ""
    assert done == ["j/1"]


async def test_what_cannot_be_forgotten_or_cancelled_on_a_full_disk_is_an_answer(
    machine: Machine,
) -> None:
    """It shares its channel with orders that go on."""
    assert await code(machine.quick("j/1")) == ""
    machine.memory._database.execute("PRAGMA query_only=1")
    with pytest.raises(OperationFailed, match="cannot note down"):
        machine.effects.forget(["j/"], 1)
    with pytest.raises(OperationFailed, match="cannot note down"):
        await machine.effects.cancel("j/2", 1)
    machine.memory._database.execute("PRAGMA query_only=0")
    machine.effects.forget(["j/"], 1)
    assert machine.memory.get("j/1") is None


def test_what_was_interrupted_is_not_forgotten_where_it_cannot_be_noted_down(
    machine: Machine,
) -> None:
    """An agent that starts on a full disk says so, and the next one knows as much as it did."""
    machine.memory.put("j/1", b"", None, 0.0)
    machine.memory.script_started("j/1", 1, 1)
    machine.memory._database.execute("PRAGMA query_only=1")
    with pytest.raises(OperationFailed, match="cannot note down what was interrupted") as failed:
        machine.effects.recover()
    assert "disk is full" in str(failed.value.hint)
    machine.memory._database.execute("PRAGMA query_only=0")
    machine.effects.recover()
    assert machine.memory.open_effects() == {} and machine.memory.scripts() == []


async def test_what_comes_while_the_agent_is_being_stopped_is_left_to_the_next_one(
    machine: Machine,
) -> None:
    machine.slow("j/1")
    await machine.started.wait()
    stopping = asyncio.ensure_future(machine.effects.close(60.0))
    await asyncio.sleep(0)
    for begin in (machine.quick, lambda key: machine.effects.admit(machine.envelope(key))):
        with pytest.raises(Stopping, match="not begun") as caught:
            begin("k/1")
        assert caught.value.node == "node1"
    machine.gate.set()
    async with asyncio.timeout(100):
        await stopping
    await machine.crash()
    assert await code(machine.quick("k/1")) == ""
    assert machine.done == ["j/1", "k/1"]


async def test_what_is_ended_while_the_agent_is_stopped_is_left_to_the_next_one(
    machine: Machine,
) -> None:
    running, waiting = machine.slow("j/1"), machine.quick("j/2")
    await machine.started.wait()
    await machine.effects.close(0.0)
    assert [await code(running), await code(waiting)] == ["stopping", "stopping"]
    await machine.crash()
    machine.gate.set()
    assert [await code(machine.slow("j/1")), await code(machine.quick("j/2"))] == ["", ""]
    assert machine.done == ["j/1", "j/2"]


async def test_a_machine_that_has_left_refuses(machine: Machine) -> None:
    machine.effects.leave()
    with pytest.raises(Rejected, match="leaves the cluster"):
        machine.quick("k/1")
