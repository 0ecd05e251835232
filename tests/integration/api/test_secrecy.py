"""What clients are not told of other people's jobs."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
from tests.integration.api.conftest import Api

from gantry.client.jobs import submission

SECRET: Final = "hunter2"
OPS: Final[list[dict[str, Any]]] = [
    {"OP_ID": "OP_INSTANCE_CREATE", "osparams_private": {"password": SECRET}, "os_type": "x"},
    {"OP_ID": "OP_INSTANCE_SET_PARAMS", "osparams_private": {"password": SECRET}},
    {"OP_ID": "OP_CLUSTER_SET_PARAMS", "osparams_private_cluster": {"x": {"password": SECRET}}},
]
SHOWN: Final[list[dict[str, Any]]] = [
    {"OP_ID": "OP_INSTANCE_CREATE", "osparams_private": {"password": "<redacted>"}, "os_type": "x"},
    {"OP_ID": "OP_INSTANCE_SET_PARAMS", "osparams_private": {"password": "<redacted>"}},
    {
        "OP_ID": "OP_CLUSTER_SET_PARAMS",
        "osparams_private_cluster": {"x": {"password": "<redacted>"}},
    },
]


@pytest.fixture
async def api(api: Api) -> Api:
    """With one ended job that was given secrets, and one that is under way."""
    for _ in range(2):
        await api.post("jobs", submission(OPS))
    await api.queue.end(api.queue.jobs()[0].id)
    return api


def inputs(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [op["input"] for op in job["ops"]]


async def test_a_job_shows_the_names_of_private_parameters_only(api: Api) -> None:
    assert inputs(await api.get("jobs/1")) == SHOWN
    assert inputs(await api.get("jobs/2")) == SHOWN
    assert inputs(await api.get("jobs/1/wait")) == SHOWN


async def test_an_archived_job_shows_no_private_parameter(api: Api) -> None:
    await api.post("jobs/archive", {"jobs": [1]})
    assert inputs(await api.get("jobs/1")) == SHOWN
    for found in (
        await api.get("query/job", fields="id,ops", names="1"),
        await api.get("query/job", fields="id,ops,archived", filter="archived"),
    ):
        assert SECRET not in str(found)


async def test_a_listing_shows_no_private_parameter_and_finds_none(api: Api) -> None:
    found = await api.get("query/job", fields="ops")
    assert SECRET not in str(found)
    assert "<redacted>" in str(found)


async def test_who_follows_or_waits_is_shown_no_private_parameter(api: Api) -> None:
    told = await api.call(lambda: list(api.client.stream("GET", "jobs/1/follow")))
    assert inputs(told[-1]["job"]) == SHOWN
    stream = await api.call(api.client.stream, "POST", "jobs?follow=1", submission(OPS))
    await api.call(next, stream)
    assert inputs((await api.call(next, stream))["job"]) == SHOWN
    waiting = asyncio.create_task(api.post("jobs?wait=1", submission(OPS)))
    await api.queue.until(lambda: len(api.queue.submissions) == 4)
    await api.queue.end(api.queue.jobs()[3].id)
    assert inputs(await waiting) == SHOWN


async def test_the_queue_is_given_the_real_ones(api: Api) -> None:
    assert api.queue.submissions[0].ops[0]["osparams_private"] == {"password": SECRET}
    assert api.queue.jobs()[0].ops[0].input["osparams_private"] == {"password": SECRET}
