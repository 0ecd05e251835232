"""A master that begins anew does not forget that it was told to end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fakes.cluster import FakeCluster, node_uuid

from gantry.agent import configuration as agent_configuration
from gantry.main import beginning_anew, bell, contest
from gantry.main.elected import Elected
from gantry.model.names import Uuid
from gantry.ports.store import Compare, Operation, Store


class Replaced(Exception):
    """The process would be another one now."""


@pytest.fixture(autouse=True)
def _stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(ready: int | None = None) -> None:
        raise Replaced(ready)

    monkeypatch.setattr(beginning_anew, "replace_process", replace)


async def test_a_signal_that_has_just_come_ends_it() -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, ended.set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(SystemExit) as caught:
            await beginning_anew.begin_anew(ended)
        assert caught.value.code == 0
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


async def test_without_one_it_begins_anew() -> None:
    with pytest.raises(Replaced, match="7"):
        await beginning_anew.begin_anew(asyncio.Event(), 7)


async def test_a_candidate_that_is_woken_and_told_to_end_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[int | None] = []
    monkeypatch.setattr("gantry.main.beginning_anew.replace_process", began.append)
    agent_configuration.write(
        tmp_path,
        agent_configuration.Configuration(
            cluster=Uuid("c"), node=Uuid("n"), name="node1.example.com", host="127.0.0.1"
        ),
    )
    # Nobody answers there, so it waits.
    said = {"kind": "etcd", "endpoints": ["http://127.0.0.1:1"], "prefix": "/x/"}
    (tmp_path / "etc/gantry/store.json").write_text(json.dumps(said))
    loop = asyncio.get_running_loop()
    task = loop.create_task(contest.contest(tmp_path, None))
    try:
        async with asyncio.timeout(100):
            while not (tmp_path / bell.SOCKET).exists():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ringing:
                ringing.sendto(b"", str(tmp_path / bell.SOCKET))
            os.kill(os.getpid(), signal.SIGTERM)
            assert await task == 0
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
        task.cancel()
    assert not began


async def test_a_candidate_that_wins_just_when_it_is_told_to_end_hears_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = await FakeCluster.make([])
    agent_configuration.write(
        tmp_path,
        agent_configuration.Configuration(
            cluster=Uuid("c"), node=node_uuid(1), name="node1.example.com", host="127.0.0.1"
        ),
    )
    commit = cluster.store.txn

    async def told_meanwhile(compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return await commit(compare, ops)

    async def opened(root: Path, writer: Uuid) -> Store:
        return cluster.store

    async def serve(
        root: Path, ready: int | None, elected: Elected, ended: asyncio.Event | None = None
    ) -> int:
        elected.keeping.cancel()
        # As the master does it: from now on it is told itself.
        ended = ended or asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()
        return 7

    monkeypatch.setattr(cluster.store, "txn", told_meanwhile)
    monkeypatch.setattr(contest, "open_store", opened)
    monkeypatch.setattr("gantry.main.master.serve", serve)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(100):
            assert await contest.contest(tmp_path, None) == 7
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
