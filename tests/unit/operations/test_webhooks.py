"""Webhooks are added and removed, and their secrets are in one place of the store alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster

from gantry.model.jobs import Job, JobStatus

URL = "https://chat.example.com/in/token"
SECRET = "0123456789abcdef"
ADD = {"OP_ID": "OP_WEBHOOK_ADD", "name": "chat"}
REMOVE = {"OP_ID": "OP_WEBHOOK_REMOVE", "name": "chat"}
GIVEN = ({"url": URL, "secret": SECRET},)


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    made = await FakeCluster.make()
    await made.start()
    yield made
    await made.close()


async def holding(cluster: FakeCluster, *texts: str) -> set[str]:
    """The kinds of keys of the store whose values have one of these texts."""
    items = (await cluster.store.range("")).items
    return {
        item.key.partition("/")[0]
        for item in items
        if any(text.encode() in item.value for text in texts)
    }


def said(job: Job) -> str:
    error = job.ops[0].error
    assert job.status is JobStatus.ERROR
    assert error is not None
    return f"{error.message} ({error.hint})"


async def test_the_secret_is_in_the_webhook_and_nowhere_else(cluster: FakeCluster) -> None:
    job = await cluster.run({**ADD, "events": ("job:error",)}, secrets=GIVEN)
    assert job.status is JobStatus.SUCCESS
    assert await holding(cluster, SECRET, "token") == {"webhooks"}
    [made] = cluster.engine.snapshot().webhooks.values()
    assert (made.name, made.url, made.secret, made.events) == ("chat", URL, SECRET, ("job:error",))
    await cluster.run(REMOVE)
    await cluster.engine.settle()
    assert await holding(cluster, SECRET, "token") == set()
    assert not cluster.engine.snapshot().webhooks


@pytest.mark.parametrize(
    ("fields", "secrets", "words"),
    [
        ({}, {"url": "nonsense", "secret": SECRET}, "https://HOST/PATH"),
        ({}, {"url": URL, "secret": "short"}, "16 to 1024"),
        ({}, {"url": URL}, "16 to 1024"),
        ({"name": "../x"}, GIVEN[0], "cannot be the name"),
        ({"events": ("x",)}, GIVEN[0], "chooses no event"),
        ({"ca": "x"}, GIVEN[0], "no certificate"),
    ],
)
async def test_what_is_no_webhook_is_refused(
    cluster: FakeCluster, fields: dict[str, Any], secrets: dict[str, str], words: str
) -> None:
    job = await cluster.run({**ADD, **fields}, secrets=(secrets,))
    assert words in said(job)
    assert "token" not in said(job)
    assert not cluster.engine.snapshot().webhooks


async def test_a_name_is_there_once_and_an_unknown_one_is_named(cluster: FakeCluster) -> None:
    await cluster.run(ADD, secrets=GIVEN)
    assert "already" in said(await cluster.run(ADD, secrets=GIVEN))
    assert "there are chat" in said(await cluster.run({**REMOVE, "name": "other"}))
