"""The stream of changes."""

from __future__ import annotations

from typing import Any

from tests.fakes.cluster import entities, instance, node_uuid
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices
from tests.integration.api.conftest import Api

from gantry.api.events import Bell, Told
from gantry.api.query import resources
from gantry.api.query.listing import Listings
from gantry.model.entities import AdminState
from gantry.model.errors import HooksDenied
from gantry.model.jobs import JobStatus, Submission
from gantry.model.live import NodeLive
from gantry.supervision.hook_points import HookPoints


async def test_a_stream_begins_with_all_states_and_goes_on_with_changes(api: Api) -> None:
    stream = await api.call(api.client.stream, "GET", "events")

    async def more(count: int) -> list[dict[str, Any]]:
        return [await api.call(next, stream) for _ in range(count)]

    [hello] = await more(1)
    assert hello["event"] == "hello"
    assert {line["event"] for line in await more(6)} == {"node", "instance"}
    await api.post("jobs", {"ops": [{"OP_ID": "OP_TEST_DUMMY"}], "request_id": "r"})
    api.bell.ring()
    [job] = await more(1)
    assert (job["event"], job["id"], job["status"]) == ("job", 1, "queued")
    stream.close()  # type: ignore[attr-defined]


async def test_only_what_differs_from_what_was_told_is_told() -> None:
    queue = FakeQueue([*entities(2), instance(1), instance(2)])
    told = Told(Listings(queue, resources.table(queue, FakeServices())), queue)
    assert len(told.changes()) == 4
    assert told.changes() == []
    queue.set_live(node_uuid(1), NodeLive(reachable=True))
    queue.put(instance(2, admin_state=AdminState.UP))
    changed = {(one["event"], one["name"], one.get("status")) for one in told.changes()}
    assert changed == {
        ("node", "node1.example.com", None),
        ("instance", "web1.example.com", "ADMIN_down"),
        ("instance", "web2.example.com", "ERROR_down"),
    }
    job = await queue.submit(Submission(ops=({"OP_ID": "OP_X"},), request_id="r"))
    await queue.end(job)
    assert [one["status"] for one in told.changes()] == ["success"]
    await queue.archive([job])
    assert told.changes() == [{"event": "job-archived", "id": 1}]


async def test_many_rings_are_one_comparison() -> None:
    bell = Bell()
    rung = bell.rung()
    await anext(rung)
    for _ in range(5):
        bell.ring()
    await anext(rung)
    await rung.aclose()  # type: ignore[attr-defined]
    assert not bell._waiting


async def test_what_hooks_do_is_told_from_now_on_and_a_denial_with_the_job() -> None:
    queue, points = FakeQueue(entities(1)), HookPoints()
    listings = Listings(queue, resources.table(queue, FakeServices()))
    points.add({"event": "hooks", "state": "begun", "job": 1})
    told, other = (Told(listings, queue, points) for _ in range(2))
    assert [one["event"] for one in told.changes()] == ["node"]
    points.add({"event": "hooks", "state": "denied", "job": 2})
    job = await queue.submit(Submission(ops=({"OP_ID": "OP_X"},), request_id="r"))
    error = HooksDenied("hooks execution failed: not today").info()
    await queue.end(job, JobStatus.ERROR, error)
    denied, ended = told.changes()
    assert (denied["state"], denied["job"]) == ("denied", 2)
    assert ended["error"] == {
        "code": "hooks-denied",
        "message": "hooks execution failed: not today",
    }
    assert told.changes() == []
    assert denied in other.changes(), "each stream on its own"
