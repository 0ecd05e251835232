"""Archived jobs in their own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.history.file import HistoryUnavailable
from gantry.history.store import open_history
from gantry.model.jobs import Job, JobStatus, LogEntry, LogKind, OpRecord
from gantry.model.names import JobId


def job(number: int) -> Job:
    return Job(
        id=JobId(number),
        uid=f"uid{number}",
        ops=(OpRecord(input={"OP_ID": "OP_TEST_DUMMY"}, result=[1, None]),),
        status=JobStatus.SUCCESS,
        ended=float(number),
        archived=True,
    )


LINE = LogEntry(serial=1, time=1.0, kind=LogKind.MESSAGE, text="hello")


async def test_jobs_are_there_again_after_closing(tmp_path: Path) -> None:
    history = await open_history(tmp_path / "history.db")
    await history.add([(job(7), (LINE,)), (job(3), ())])
    await history.close()
    again = await open_history(tmp_path / "history.db")
    assert await again.get(JobId(7)) == job(7)
    assert await again.log(JobId(7)) == (LINE,)
    assert [one.id for one in await again.jobs()] == [3, 7]
    assert await again.highest() == 7
    await again.close()


async def test_the_same_job_twice_is_there_once(tmp_path: Path) -> None:
    history = await open_history(tmp_path / "history.db")
    await history.add([(job(1), ())])
    await history.add([(job(1), (LINE,))])
    assert await history.jobs() == [job(1)]
    assert await history.log(JobId(1)) == (LINE,)
    await history.close()


async def test_an_unknown_job_is_none_and_an_empty_history_has_no_highest(tmp_path: Path) -> None:
    history = await open_history(tmp_path / "history.db")
    assert await history.get(JobId(1)) is None
    assert await history.log(JobId(1)) == ()
    assert await history.highest() == 0
    await history.close()


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    history = await open_history(tmp_path / "history.db")
    assert (tmp_path / "history.db").stat().st_mode & 0o077 == 0
    await history.close()


async def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(HistoryUnavailable, match=r"history\.db cannot be used") as raised:
        await open_history(tmp_path / "history.db")
    assert "move it away" in raised.value.hint


async def test_a_full_disk_is_no_reason_to_move_the_file_away(tmp_path: Path) -> None:
    history = await open_history(tmp_path / "history.db")
    # SQLite says the same as where the disk is full.
    await history._do(lambda connection: connection.execute("pragma max_page_count = 1").get)
    with pytest.raises(HistoryUnavailable, match="full") as raised:
        for number in range(1, 1000):
            await history.add([(job(number), (LINE,) * 10)])
    assert raised.value.hint == "make room on its disk"
    await history.close()
