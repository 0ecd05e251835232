"""The checks of these rounds can fail: what they are for is found."""

from __future__ import annotations

from pathlib import Path

from tests.redundancy.plan import Kind, plan
from tests.redundancy.watching import Console, Said, runs, story


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
    assert not runs([*argv, b"-incoming", b"defer"], "u1")
    assert not runs([b"/usr/bin/less", b"-uuid", b"u1"], "u1")


def test_a_seed_is_a_round_and_all_kinds_come_first_in_turn() -> None:
    assert plan(3, 5.0) == plan(3, 5.0)
    assert {plan(seed, 5.0)[0].kind for seed in range(len(Kind))} == set(Kind)
