"""The files that a node needs to be the master one day."""

from __future__ import annotations

import hashlib

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import envelope

from gantry.model.errors import Rejected
from gantry.model.orders import MasterFiles, MasterFilesHeld, ReadMasterFiles

FILES = {"pki/ca.key": "CA", "pki/api.pem": "API", "pki/api.key": "K", "store.json": "{}"}


async def held(harness: Harness) -> MasterFilesHeld:
    return await harness.agents.ask(harness.address, ReadMasterFiles(), 5.0)


def digests(files: dict[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}


async def test_files_come_change_stay_and_go(harness: Harness) -> None:
    assert await held(harness) == MasterFilesHeld()
    await harness.agents.order(harness.address, envelope("c/1"), MasterFiles(files=FILES))
    assert await held(harness) == MasterFilesHeld(digests=digests(FILES), api="API")
    changed = MasterFiles(files={"pki/ca.key": "new"}, keep=("pki/api.pem", "pki/api.key"))
    await harness.agents.order(harness.address, envelope("c/2"), changed)
    now = {"pki/ca.key": "new", "pki/api.pem": "API", "pki/api.key": "K"}
    assert await held(harness) == MasterFilesHeld(digests=digests(now), api="API")
    await harness.agents.order(harness.address, envelope("c/3"), MasterFiles())
    assert await held(harness) == MasterFilesHeld()


@pytest.mark.parametrize(
    "name", ["../users", "pki/../users", "/etc/passwd", "pki/node.key", "agent.json", "users\n", ""]
)
async def test_no_other_file_is_written_or_kept(harness: Harness, name: str) -> None:
    for number, order in enumerate(
        (MasterFiles(files={"users": "x", name: "bad"}), MasterFiles(keep=("users", name)))
    ):
        with pytest.raises(Rejected):
            await harness.agents.order(harness.address, envelope(f"c/{number}"), order)
    assert await held(harness) == MasterFilesHeld()


def test_what_is_in_the_files_is_not_shown() -> None:
    assert "CA" not in repr(MasterFiles(files=FILES)).replace("pki/ca", "")
