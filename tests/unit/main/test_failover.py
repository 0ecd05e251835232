"""What an operator is told before a copy becomes the state."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.fakes.cluster import entities, instance, instance_uuid, node_uuid

from gantry.agent.succession import COPIES
from gantry.jobs.from_copy import Known
from gantry.main.failover import Found, Source, chosen, losses, unused
from gantry.model.entities import AdminState
from gantry.model.live import GuestLive, GuestState
from gantry.model.master_orders import MasterSeen
from gantry.model.snapshot import build
from gantry.ports.store import StoreLocked
from gantry.store.backup import Record
from gantry.store.sqlite.lock import FileLock

COPY = Source(Path("/c/state-1.sqlite"), Path("/c/history-1.sqlite"), 1000.0)
OWN = Source(Path("/s/state.db"), Path("/s/history.db"), None)


def guest(number: int, *, up: bool = True) -> GuestLive:
    state = GuestState.RUNNING if up else GuestState.STOPPED
    return GuestLive(uuid=instance_uuid(number), name=f"web{number}.example.com", state=state)


def found(source: Source = COPY, **changes: object) -> Found:
    cluster = build(
        1,
        [
            *entities(3),
            instance(1, 2, admin_state=AdminState.UP),
            instance(2, 2, admin_state=AdminState.UP),
        ],
    )
    fields: dict[str, object] = {
        "source": source,
        "cluster": cluster,
        "known": Known(epoch=4, job=10, unfinished=()),
        "seen": {node_uuid(n): MasterSeen(epoch=4, node=node_uuid(1), job=10) for n in (2, 3)},
        "guests": {node_uuid(2): (guest(1), guest(2)), node_uuid(3): ()},
        **changes,
    }
    return Found(**fields)  # type: ignore[arg-type]  # by name


def test_the_age_and_who_does_not_answer_are_always_said() -> None:
    lines = losses(found(), 1090.0)
    assert len(lines) == 2
    assert "90 seconds old" in lines[0]
    assert "node1.example.com" in lines[1]
    assert "25 minutes old" in losses(found(), 2500.0)[0]


def test_jobs_that_the_copy_does_not_know_are_counted_by_what_agents_remember() -> None:
    seen = {node_uuid(2): MasterSeen(epoch=4, node=node_uuid(1), job=14)}
    known = Known(epoch=4, job=10, unfinished=(9, 10))  # type: ignore[arg-type]  # job ids
    text = "\n".join(losses(found(seen=seen, known=known), 1001.0))
    assert "jobs 11 to 14 are not in the copy" in text
    assert "end as failed: 9, 10" in text


def test_guests_that_are_lost_and_guests_that_will_be_started_are_named() -> None:
    guests = {node_uuid(2): (guest(1), guest(2, up=False), guest(7)), node_uuid(3): ()}
    text = "\n".join(losses(found(guests=guests), 1001.0))
    assert "does not know: web7.example.com" in text
    assert "wants up: web2.example.com" in text


def test_a_master_whose_node_answers_is_pointed_at() -> None:
    seen = {node_uuid(n): MasterSeen(epoch=4, node=node_uuid(1), job=10) for n in (1, 2, 3)}
    assert any("its state is newer" in line for line in losses(found(seen=seen), 1001.0))


def kept_copy(root: Path) -> Path:
    """A state of this node, and a copy of a later one."""
    state = root / "var/lib/gantry/state.db"
    (root / COPIES).mkdir(parents=True)
    state.touch()
    copy = root / COPIES / "state-2.sqlite"
    copy.write_bytes(b"whole")
    record = Record(
        taken=datetime.fromtimestamp(1000, UTC),
        size_bytes=5,
        sha256=hashlib.sha256(b"whole").hexdigest(),
        revision=9,
    )
    copy.with_suffix(".json").write_bytes(msgspec.json.encode(record))
    return copy


async def test_a_state_of_before_the_master_that_died_is_not_taken_for_the_newest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = kept_copy(tmp_path)
    tried = []
    seen = {node_uuid(3): MasterSeen(epoch=5, node=node_uuid(2), job=14)}

    async def look(source: Source) -> Found:
        tried.append(source.taken)
        return found(source, seen=seen)

    result = await chosen(tmp_path, node_uuid(1), look)
    assert tried == [None, 1000.0]
    assert result.source.state == copy
    assert "node2.example.com has been master since" in capsys.readouterr().err


async def test_a_state_of_the_last_master_is_newer_than_any_copy(tmp_path: Path) -> None:
    kept_copy(tmp_path)
    seen = {node_uuid(3): MasterSeen(epoch=4, node=node_uuid(1), job=14)}

    async def look(source: Source) -> Found:
        return found(source, seen=seen)

    assert (await chosen(tmp_path, node_uuid(1), look)).source.taken is None


def test_a_state_of_its_own_loses_nothing() -> None:
    seen = {node_uuid(n): MasterSeen(epoch=4, node=node_uuid(1), job=10) for n in (1, 2, 3)}
    assert losses(found(OWN, seen=seen), 1e9) == [
        "the state is this node's own, /s/state.db: nothing of it is lost"
    ]


async def test_a_state_that_a_hung_master_has_open_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_copy(tmp_path)
    monkeypatch.setattr("gantry.main.failover._PATIENCE", 0.0)
    monkeypatch.setattr("gantry.model.timeouts.MASTER_LOOK", 0.01)
    master = FileLock(tmp_path / "var/lib/gantry/state.db", exclusive=True)
    with pytest.raises(StoreLocked, match="in use by process") as told:
        await unused(tmp_path)
    assert "stop that one first" in told.value.hint
    master.release()
    (await unused(tmp_path)).release()
