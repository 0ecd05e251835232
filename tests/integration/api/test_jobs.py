"""Jobs through the real socket and the real client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.integration.api.conftest import Api

from gantry.client.errors import ApiError, NoCluster
from gantry.client.jobs import submission
from gantry.model.errors import Reason, Rejected, Unavailable
from gantry.model.jobs import JobChange

DUMMY = {"OP_ID": "OP_TEST_DUMMY"}


async def test_a_submitted_job_has_a_number_and_a_requester(api: Api) -> None:
    answer = await api.post("jobs", submission([DUMMY]))
    assert answer == {"job": 1}
    assert api.queue.submissions[0].requester


async def test_the_same_request_is_the_same_job(api: Api) -> None:
    body = submission([DUMMY])
    assert await api.post("jobs", body) == await api.post("jobs", body)
    assert len(api.queue.submissions) == 1


async def test_waiting_answers_with_the_ended_job(api: Api) -> None:
    waiting = asyncio.create_task(api.post("jobs?wait=1", submission([DUMMY])))
    await api.queue.until(lambda: api.queue.submissions)
    assert not waiting.done()
    await api.queue.end(api.queue.jobs()[0].id)
    job = await waiting
    assert (job["id"], job["status"]) == (1, "success")


async def test_following_tells_number_lines_and_end(api: Api) -> None:
    stream = await api.call(api.client.stream, "POST", "jobs?follow=1", submission([DUMMY]))
    job = api.queue.jobs()[0].id
    assert await api.call(next, stream) == {"job": 1}
    first = await api.call(next, stream)
    assert first["job"]["status"] == "queued"
    await api.queue.say(job, "one")
    assert (await api.call(next, stream))["entries"][0]["text"] == "one"
    await api.queue.end(job)
    last = await api.call(next, stream)
    assert last["job"]["status"] == "success"
    assert await api.call(next, stream, None) is None


async def test_following_an_ended_job_tells_all_of_it(api: Api) -> None:
    await api.post("jobs", submission([DUMMY]))
    job = api.queue.jobs()[0].id
    await api.queue.say(job, "one")
    await api.queue.say(job, "two")
    await api.queue.end(job)
    lines = await api.call(lambda: list(api.client.stream("GET", "jobs/1/follow?after=1")))
    assert [entry["text"] for line in lines for entry in line["entries"]] == ["two"]
    assert lines[-1]["job"]["status"] == "success"


async def test_a_follower_that_leaves_is_forgotten(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.EVENT_HEARTBEAT", 0.01)
    stream = await api.call(api.client.stream, "POST", "jobs?follow=1", submission([DUMMY]))
    await api.call(next, stream)
    await api.queue.until(lambda: api.queue.followers)
    stream.close()  # type: ignore[attr-defined]
    await api.queue.until(lambda: not api.queue.followers)


async def test_a_quiet_stream_shows_signs_of_life(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.EVENT_HEARTBEAT", 0.01)
    reader, writer = await asyncio.open_unix_connection(api.path)
    await api.post("jobs", submission([DUMMY]))
    writer.write(b"GET /gantry/1/jobs/1/follow HTTP/1.0\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(100):
        await reader.readuntil(b'"queued"')
        await reader.readuntil(b"\n\n\n")
    writer.close()


async def test_a_slow_reader_misses_nothing(api: Api) -> None:
    await api.post("jobs", submission([DUMMY]))
    job = api.queue.jobs()[0].id
    stream = await api.call(api.client.stream, "GET", "jobs/1/follow")
    for number in range(300):
        await api.queue.say(job, f"{number} " + "x" * 10_000)
    await api.queue.end(job)
    lines: list[dict[str, Any]] = await api.call(list, stream)
    told = [entry["text"].split()[0] for line in lines for entry in line["entries"]]
    assert told == [str(number) for number in range(300)]
    assert lines[-1]["job"]["status"] == "success"


async def test_a_queue_that_stops_is_an_error_at_the_end_of_the_stream(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(job: int, after: int = 0) -> Any:
        yield JobChange()
        raise Unavailable("the master is stopping")

    monkeypatch.setattr(api.queue, "follow", broken)
    stream = await api.call(api.client.stream, "POST", "jobs?follow=1", submission([DUMMY]))
    assert await api.call(next, stream) == {"job": 1}
    assert await api.call(next, stream) == {"entries": [], "job": None}
    with pytest.raises(ApiError, match="stopping"):
        await api.call(next, stream)


async def test_a_refused_job_says_why(api: Api) -> None:
    api.queue.refuse = Rejected("no", "try yes", reason=Reason.STATE, object_name="web1")
    for path in ("jobs", "jobs?wait=1"):
        with pytest.raises(ApiError) as caught:
            await api.post(path, submission([DUMMY]))
        assert caught.value.info() == {
            "code": "rejected",
            "message": "no",
            "reason": "wrong_state",
            "hint": "try yes",
            "node": "",
            "object": "web1",
        }
    with pytest.raises(ApiError, match="no"):
        await api.call(api.client.stream, "POST", "jobs?follow=1", submission([DUMMY]))


async def test_a_bug_shows_nothing_of_the_inside(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.queue.refuse = ZeroDivisionError("secret detail")
    with pytest.raises(ApiError) as caught:
        await api.post("jobs", submission([DUMMY]))
    assert "secret" not in str(caught.value.info())
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"ops": "x", "request_id": "a"},
        {"ops": [1], "request_id": "a"},
        {"ops": [DUMMY], "request_id": ""},
        {"ops": [DUMMY], "request_id": "x" * 129},
        {"ops": [DUMMY], "request_id": "a", "priority": "high"},
    ],
)
async def test_a_body_that_is_no_job_is_refused(api: Api, body: Any) -> None:
    with pytest.raises(ApiError) as caught:
        await api.post("jobs", body)
    assert caught.value.code == "rejected"
    assert not api.queue.submissions


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b"{", b'{"ops": NaN}'])
async def test_a_body_that_is_no_json_is_refused(api: Api, data: bytes) -> None:
    status, answer = await raw(api, data)
    assert status == 400
    assert b'"rejected"' in answer


async def test_a_body_beyond_one_mebibyte_is_refused(api: Api) -> None:
    with pytest.raises(ApiError) as caught:
        await api.post("jobs", {"ops": ["x" * (1024 * 1024)], "request_id": "a"})
    assert caught.value.code == "too-large"


async def test_an_unknown_path_is_an_error_as_all_are(api: Api) -> None:
    for path in ("nonsense", "jobs/seven", "jobs/9" * 20, "jobs/77"):
        with pytest.raises(ApiError):
            await api.get(path)
    with pytest.raises(ApiError, match="POST"):
        await api.post("jobs/7/log")


async def test_cancel_priority_archive_and_log(api: Api) -> None:
    await api.post("jobs", submission([DUMMY]))
    await api.queue.say(api.queue.jobs()[0].id, "one")
    assert (await api.get("jobs/1/log"))["entries"][0]["text"] == "one"
    assert await api.post("jobs/1/priority", {"priority": -10}) == {}
    assert (await api.get("jobs/1"))["priority"] == -10
    assert "cancelled" in (await api.post("jobs/1/cancel", {"kill": True}))["message"]
    assert api.queue.cancelled == [(1, True)]
    assert await api.post("jobs/archive", {"jobs": [1]}) == {"count": 1, "jobs": [1]}
    assert await api.post("jobs/archive", {"age": 0}) == {"count": 0}
    for wrong in ({}, {"jobs": [1], "age": 2}, {"age": -1}):
        with pytest.raises(ApiError):
            await api.post("jobs/archive", wrong)


async def raw(api: Api, data: bytes) -> tuple[int, bytes]:
    """POST ``data`` to jobs as it is."""
    reader, writer = await asyncio.open_unix_connection(api.path)
    head = f"POST /gantry/1/jobs HTTP/1.0\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer


async def test_a_master_that_stops_ends_its_streams_at_once_and_says_so(api: Api) -> None:
    stream = await api.call(api.client.stream, "POST", "jobs?follow=1", submission([DUMMY]))
    assert await api.call(next, stream) == {"job": 1}
    await api.call(next, stream)
    async with asyncio.timeout(30):
        await api.server.close()
    with pytest.raises(ApiError, match="stopping"):
        await api.call(next, stream)
    with pytest.raises(NoCluster):
        await api.get("version")
