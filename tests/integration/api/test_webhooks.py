"""Webhooks, told to a real web server that takes them, fails, hangs and lies."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.cluster import CLUSTER, entities, instance
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices
from tests.integration.api.conftest import Api
from tests.support.receiver import SECRET, Receiver, receiving

from gantry.api import deliveries
from gantry.api.deliveries import Deliveries, pause
from gantry.api.events import Bell, Told
from gantry.api.posting import Poster
from gantry.api.query import resources
from gantry.api.query.listing import Listings
from gantry.model import timeouts
from gantry.model.entities import Webhook
from gantry.model.jobs import Submission
from gantry.model.names import Uuid
from gantry.pki.authority import Authority
from gantry.supervision.hook_points import HookPoints


class MemoryOutbox:
    """What was saved."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    async def load(self) -> bytes:
        return self.data

    async def save(self, data: bytes) -> None:
        self.data = data


class Scene:
    """A queue with webhooks, and what tells them."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self.queue = FakeQueue([*entities(2), instance(1)])
        self.bell = Bell()
        self.points = HookPoints(self.bell.ring)
        listings = Listings(self.queue, resources.table(self.queue, FakeServices()))
        self.deliveries = Deliveries(
            self.queue,
            self.bell,
            lambda: Told(listings, self.queue, self.points),
            outbox,
            pauses=lambda failures, chance: 0.01,
        )

    async def add(self, url: str, *events: str, name: str = "chat", ca: str = "") -> None:
        """One more; returns when it listens."""
        number = len(self.queue.cluster.webhooks) + 1
        made = Webhook(
            uuid=Uuid(f"00000000-0000-4000-8000-00000000055{number}"),
            name=name,
            url=url,
            secret=SECRET,
            events=events,
            ca=ca,
        )
        self.queue.put(made)
        self.bell.ring()
        await until(lambda: self.deliveries.line(name) is not None)

    def tell(self, number: int, name: str = "test") -> None:
        """An event."""
        self.points.add({"event": name, "number": number})


async def until(true: Callable[[], bool]) -> None:
    """Until something that nobody announces is so."""
    async with asyncio.timeout(100):
        while not true():  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.01)


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


@pytest.fixture
async def scene(outbox: MemoryOutbox) -> AsyncIterator[Scene]:
    made = Scene(outbox)
    await made.deliveries.start()
    yield made
    await made.deliveries.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def test_an_event_comes_signed_with_all_that_a_receiver_needs(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.add(receiver.url)
    before = time.time()
    scene.tell(7)
    taken = await receiver.next()
    assert taken.signed_with(SECRET)
    assert not taken.signed_with(SECRET + "x")
    document = taken.document
    assert document["event"] == {"event": "test", "number": 7}
    assert (document["version"], document["cluster"]) == (1, "cluster.example.com")
    assert before <= document["time"] <= time.time()
    assert taken.headers["X-Gantry-Delivery"] == document["id"]
    assert taken.headers["X-Gantry-Attempt"] == "1"
    assert taken.headers["Content-Type"] == "application/json"
    assert SECRET not in str(taken)


async def test_jobs_instances_and_hooks_are_told_and_what_was_so_already_is_not(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.add(receiver.url)
    job = await scene.queue.submit(Submission(ops=({"OP_ID": "OP_X"},), request_id="r"))
    scene.bell.ring()
    assert (await receiver.next()).event["status"] == "queued"
    await scene.queue.end(job)
    scene.bell.ring()
    assert (await receiver.next()).event["status"] == "success"
    scene.queue.put(instance(2))
    scene.bell.ring()
    assert (await receiver.next()).event["event"] == "instance"
    scene.points.add({"event": "hooks", "state": "denied"})
    assert (await receiver.next()).event == {"event": "hooks", "state": "denied"}


async def test_only_chosen_events_are_told(scene: Scene, receiver: Receiver) -> None:
    await scene.add(receiver.url, "hooks:denied")
    scene.points.add({"event": "hooks", "state": "begun"})
    scene.tell(1)
    scene.points.add({"event": "hooks", "state": "denied"})
    assert (await receiver.next()).event["state"] == "denied"
    assert receiver.requests.empty()


@pytest.mark.parametrize("answer", [500, 404, 410, 429, 302, 308, -1])
async def test_what_is_not_taken_is_told_again_in_order(
    scene: Scene, receiver: Receiver, answer: int
) -> None:
    receiver.answers = [answer, answer]
    await scene.add(receiver.url)
    scene.tell(1)
    scene.tell(2)
    first = [await receiver.next() for _ in range(3)]
    assert {one.document["id"] for one in first} == {first[0].document["id"]}
    assert [one.headers["X-Gantry-Attempt"] for one in first] == ["1", "2", "3"]
    assert {one.body for one in first} == {first[0].body}
    assert (await receiver.next()).event["number"] == 2
    line = scene.deliveries.line("chat")
    assert line is not None
    await until(lambda: line.account.delivered == 2)
    assert (line.account.failed, line.account.dropped, line.waiting) == (2, 0, 0)
    assert line.account.last_error
    assert "token" not in line.account.last_error
    assert receiver.elsewhere == 0


async def test_one_that_hangs_holds_up_no_other(
    scene: Scene, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "WEBHOOK", 0.3)
    async with receiving() as other:
        receiver.answers = [0]
        await scene.add(receiver.url)
        await scene.add(other.url, name="other")
        scene.tell(1)
        await receiver.next()
        assert (await other.next()).event["number"] == 1
        # On a busy machine a second one may have been too late, too.
        assert int((await receiver.next()).headers["X-Gantry-Attempt"]) > 1
    line = scene.deliveries.line("chat")
    assert line is not None
    assert line.account.last_error == "no answer within 0.3 seconds"


async def test_one_that_answers_slowly_has_taken_it_with_its_status(
    scene: Scene, receiver: Receiver
) -> None:
    """Its body is not waited for."""
    receiver.answers = [299]
    await scene.add(receiver.url)
    scene.tell(1)
    scene.tell(2)
    assert (await receiver.next()).event["number"] == 1
    assert (await receiver.next()).event["number"] == 2
    line = scene.deliveries.line("chat")
    assert line is not None
    await until(lambda: line.account.delivered == 2)
    assert line.account.failed == 0


async def test_nobody_there_is_said_and_does_not_end_it(scene: Scene) -> None:
    async with receiving() as gone:
        url = gone.url
    await scene.add(url)
    scene.tell(1)
    line = scene.deliveries.line("chat")
    assert line is not None
    await until(lambda: line.account.failed > 2)
    assert line.account.last_error.startswith("cannot connect")
    assert line.waiting == 1


async def test_what_waits_is_bounded_in_number_and_in_age(
    scene: Scene, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answers = [500] * 1000
    await scene.add(receiver.url)
    line = scene.deliveries.line("chat")
    assert line is not None
    for number in range(deliveries.MOST + 50):
        line.put({"event": "test", "number": number}, time.time())
    assert line.waiting == deliveries.MOST
    assert line.account.dropped == 50
    await receiver.next()
    receiver.answers = []
    monkeypatch.setattr(deliveries, "OLDEST", 0.0)
    await until(lambda: line.waiting == 0)
    assert line.account.delivered + line.account.dropped == deliveries.MOST + 50


async def test_a_master_that_is_started_again_goes_on_with_what_waited(
    outbox: MemoryOutbox,
) -> None:
    async with receiving() as gone:
        url = gone.url
    first = Scene(outbox)
    await first.deliveries.start()
    await first.add(url)
    for number in range(3):
        first.tell(number)
    line = first.deliveries.line("chat")
    assert line is not None
    await until(lambda: line.waiting == 3 and line.account.failed > 0)
    await first.deliveries.stop()
    assert SECRET.encode() not in outbox.data
    second = Scene(outbox)
    second.queue.put(next(iter(first.queue.cluster.webhooks.values())))
    await second.deliveries.start()
    try:
        await until(lambda: second.deliveries.line("chat") is not None)
        again = second.deliveries.line("chat")
        assert again is not None
        assert again.waiting == 3
        assert again.account.failed >= line.account.failed
    finally:
        await second.deliveries.stop()


@pytest.mark.parametrize("data", [b"what", b"{", b'{"x": 1}'])
async def test_a_damaged_outbox_is_lost_and_nothing_else(data: bytes) -> None:
    scene = Scene(MemoryOutbox(data))
    await scene.deliveries.start()
    async with receiving() as receiver:
        await scene.add(receiver.url)
        scene.tell(1)
        await receiver.next()
        await scene.deliveries.stop()


async def test_one_that_is_removed_is_told_no_more(scene: Scene, receiver: Receiver) -> None:
    await scene.add(receiver.url)
    [known] = scene.queue.cluster.webhooks.values()
    scene.queue.cluster = scene.queue.cluster.with_changes(2, [], [known])
    scene.bell.ring()
    await until(lambda: scene.deliveries.line("chat") is None)
    scene.tell(1)
    scene.bell.ring()
    assert receiver.requests.empty()


async def test_only_a_certificate_that_is_trusted_is_told(tmp_path: Path) -> None:
    authority = Authority.create(CLUSTER, "cluster.example.com", time.time())
    pair = authority.issue_api(["receiver.example.com", "127.0.0.1"], time.time())
    (tmp_path / "c.pem").write_text(pair.certificate)
    (tmp_path / "k.pem").write_text(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    async with receiving(context) as receiver:
        webhook = Webhook(uuid=CLUSTER, name="x", url=receiver.url, secret=SECRET)
        async with Poster(webhook) as poster:
            assert "not trusted" in await poster.post(b"{}", "1", 1)
        assert receiver.requests.empty()
        trusting = Webhook(
            uuid=CLUSTER, name="x", url=receiver.url, secret=SECRET, ca=authority.certificate
        )
        async with Poster(trusting) as poster:
            assert await poster.post(b"{}", "1", 1) == ""
        await receiver.next()
        other = Webhook(
            uuid=CLUSTER,
            name="x",
            url=receiver.url.replace("127.0.0.1", "localhost"),
            secret=SECRET,
            ca=authority.certificate,
        )
        async with Poster(other) as poster:
            assert "not trusted" in await poster.post(b"{}", "1", 1)


def test_pauses_grow_come_apart_and_end_growing() -> None:
    for failures, most in enumerate(timeouts.WEBHOOK_PAUSES, 1):
        assert (pause(failures, 0.0), pause(failures, 1.0)) == (most / 2, most)
    assert pause(1000, 1.0) == timeouts.WEBHOOK_PAUSES[-1]


async def test_the_list_shows_how_it_stands_and_no_secret(api: Api, receiver: Receiver) -> None:
    api.queue.put(Webhook(uuid=CLUSTER, name="chat", url=receiver.url, secret=SECRET))
    api.bell.ring()
    found: list[dict[str, Any]] = await api.get("webhooks")
    assert (found[0]["name"], found[0]["url"], found[0]["waiting"]) == ("chat", receiver.url, 0)
    assert SECRET not in str(found)
    tried = await api.post("webhooks/chat/test", {})
    assert tried == {"delivered": True, "problem": ""}
    assert (await receiver.next()).event == {"event": "test", "webhook": "chat"}
    receiver.answers = [503]
    tried = await api.post("webhooks/chat/test", {})
    assert tried == {"delivered": False, "problem": "it answers 503"}
