"""The checks of these rounds can fail: what they are for is found."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.redundancy import disks
from tests.redundancy import round as rounds
from tests.redundancy.cluster import Rig
from tests.redundancy.disks import runs, waits
from tests.redundancy.plan import POWER, Kind, alone, plan
from tests.redundancy.watching import Console, Said, Seen, Silence, story
from tests.support.cluster import eventually
from tests.support.fleet import Fleet
from tests.support.namespaces import Machine


def said(*lines: tuple[str, int]) -> list[Said]:
    return [Said(float(at), 1, word, number) for at, (word, number) in enumerate(lines)]


def test_a_story_that_holds() -> None:
    assert story(said(("READ", 0), ("ACK", 1), ("ACK", 2), ("READ", 3), ("ACK", 4))) == []


def test_a_write_that_is_lost_is_found() -> None:
    assert story(said(("READ", 0), ("ACK", 1), ("ACK", 2), ("READ", 1)))


def test_what_was_read_and_is_gone_is_found() -> None:
    """It was never acknowledged, but somebody may have acted upon it."""
    assert story(said(("READ", 0), ("ACK", 1), ("READ", 2), ("READ", 1)))


def test_a_hole_and_a_failed_write_are_found() -> None:
    assert story(said(("READ", 0), ("GONE", 7), ("READ", 9)))
    assert story(said(("BAD", 0)))


def test_a_guest_that_goes_on_in_two_places_is_found() -> None:
    """Each of them writes the same blocks."""
    assert story(said(("READ", 0), ("ACK", 1), ("ACK", 2), ("ACK", 2)))


def test_a_guest_that_was_to_wait_and_did_not_is_found() -> None:
    heard = said(("READ", 0), ("ACK", 1), ("ACK", 2), ("ACK", 3))
    [broken] = Silence("w1", 1, 1.5, 2.5).broken(heard)
    assert "number=2" in broken
    assert Silence("w1", 2, 1.5, 2.5).broken(heard) == []
    assert Silence("w1", 1, 3.5, 9.0).broken(heard) == []


@pytest.mark.qemu
def test_who_may_write_to_a_disk_is_seen(tmp_path: Path) -> None:
    """As long as it may: what has only the file open, or reads it, is none."""
    nodes = [tmp_path / name for name in ("node1", "node2")]
    with ExitStack() as stack:
        pids = list[int]()
        for node in nodes:
            node.mkdir()
            disk = node / "disk0"
            disk.write_bytes(bytes(4096))
            pids.append(stack.enter_context(_storage(disk, writable=True)).pid)
            stack.enter_context(disk.open("r+b"))
        reader = stack.enter_context(_storage(nodes[0] / "disk0", writable=False)).pid

        several = [*pids, reader, os.getpid()]
        seen = [disks.used(pid, tmp_path, waits=False) for pid in several]
        found = frozenset(writer for one in seen for writer in one.writers)

        assert found == {
            disks.Writer(pid, str(node / "disk0")) for pid, node in zip(pids, nodes, strict=True)
        }
        [twice] = disks.twice(found)
        assert str(pids[0]) in twice and str(pids[1]) in twice
        one = next(iter(found))
        assert disks.twice([one]) == disks.twice([one, one]) == []
        assert [one.running for one in seen] == [True, True, True, False]
        elsewhere = disks.used(pids[0], tmp_path / "node3", waits=False)
        assert not elsewhere.writers
        # It has not opened its disks yet; one that waits has not even begun to run then.
        assert elsewhere.running
        assert not disks.used(pids[0], tmp_path / "node3", waits=True).running
        assert disks.used(pids[0], tmp_path, waits=True).running


@contextmanager
def _storage(file: Path, *, writable: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A program of QEMU that has the file open as a disk."""
    blockdev = {
        "driver": "file",
        "node-name": "disk",
        "filename": str(file),
        "read-only": not writable,
        "locking": "on",
    }
    ready = file.parent / f"ready-{writable}"
    argv = ["qemu-storage-daemon", "--blockdev", json.dumps(blockdev), "--pidfile", str(ready)]
    if writable:
        # The permission is held by who uses the disk.
        argv += ["--nbd-server", f"addr.type=unix,addr.path={file}.socket"]
        argv += ["--export", "type=nbd,id=export,node-name=disk,writable=on"]
    with subprocess.Popen(argv) as process:
        try:
            eventually("it serves", ready.exists)
            yield process
        finally:
            process.kill()


def test_what_two_looks_saw_was_so_between_them() -> None:
    def seen(running: set[int], writing: set[int]) -> Seen:
        writers = frozenset(disks.Writer(pid, f"/node{pid}/disk0") for pid in writing)
        return Seen({"w1": frozenset(running)}, writers)

    both = seen({1, 2}, {1, 2})
    assert len(both.doubled()) == len(both.also(both).doubled()) == 2
    # The one had ended when the other began.
    assert both.also(seen({2}, {2})).doubled() == []
    assert seen({1}, {2}).doubled() == []


def test_a_console_is_read_as_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    console = Console(log, 2)
    assert console.more() == []
    log.write_bytes(b"noise\r\nREAD 0 0\r\nACK 1 1\r\nACK")
    assert [(one.word, one.number) for one in console.more()] == [("READ", 0), ("ACK", 1)]
    with log.open("ab") as file:
        file.write(b" 2 2\r\nACK 3 34 4\r\nACK 45 5\r\nBAD luck\r\n")
    found = [(one.word, one.number, one.machine) for one in console.more()]
    assert found == [("ACK", 2, 2), ("BAD", 0, 2)]
    log.rename(tmp_path / "log.1")
    log.write_bytes(b"READ 2 2\r\n")
    assert [(one.word, one.number) for one in console.more()] == [("READ", 2)]


def test_a_guest_is_known_by_its_command_line() -> None:
    argv = [b"/usr/bin/qemu-system-x86_64", b"-uuid", b"u1", b"-m", b"64"]
    assert runs(argv, "u1")
    assert not runs(argv, "u2")
    assert waits([*argv, b"-incoming", b"defer"])
    assert not waits(argv)
    assert not runs([b"/usr/bin/less", b"-uuid", b"u1"], "u1")


class _Stuck(Rig):
    def calm(self) -> None:
        raise AssertionError("w1 is not in sync")

    def why(self) -> str:
        return self.last_words()


def test_a_round_that_fails_says_why_first_and_last_and_no_more_than_fits(tmp_path: Path) -> None:
    machine = Machine(1, "none", tmp_path)
    console = machine.root / "var/log/gantry/console/w1.log"
    console.parent.mkdir(parents=True)
    console.write_text("the kernel\n" + "".join(f"ACK {n} {n}\n" for n in range(9999)))
    (console.parent.parent / "agent.log").write_text("a word " * 999 + "\nanother\n" * 999)

    with pytest.raises(AssertionError) as failed:
        rounds.run(_Stuck(Fleet([machine], tmp_path)), "seed 7", plan(7))

    first, *between, last = str(failed.value).splitlines()
    assert first == last == "seed 7: w1 is not in sync"
    assert "the kernel" in between
    assert not [line for line in between if line.startswith("ACK")]
    assert len(between) < 20


def test_a_seed_is_a_round_and_all_kinds_come_first_in_turn() -> None:
    assert plan(3) == plan(3)
    assert {plan(seed)[0].kind for seed in range(len(Kind))} == set(Kind)
    assert [plan(seed, POWER)[0].kind for seed in range(len(POWER))] == list(POWER)
    assert alone(Kind.GROW) == alone(Kind.GROW)
    assert [one.kind for one in alone(Kind.GROW)] == [Kind.GROW]
