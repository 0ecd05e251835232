"""The master's files on real agents' nodes: sent, kept in step, taken away."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import GROUP
from tests.fakes.queue import FakeQueue
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid

from gantry.host.clock import SystemClock
from gantry.jobs.election import Mastership
from gantry.main.bootstrap import MasterConfiguration
from gantry.main.candidates import Candidates
from gantry.model.entities import Cluster, Group, HypervisorName, Node
from gantry.model.live import NodeLive
from gantry.model.orders import NodeLeave, ReadMasterFiles
from gantry.pki import files
from gantry.pki.authority import Authority
from gantry.ports.agents import Envelope
from gantry.rpc.client import HttpAgents

CANDIDATE, REGULAR = "node2", "node3"
WHOLE = {
    "master.json",
    "pki/api.key",
    "pki/api.pem",
    "pki/ca.key",
    "pki/master.key",
    "pki/master.pem",
    "store.json",
    "store/password",
    "users",
}


class Clock(SystemClock):
    """``later``: so many seconds ahead."""

    later = 0.0

    def now(self) -> float:
        return super().now() + self.later


class Site:
    """A master's root, a candidate and another node, and what keeps their files."""

    def __init__(self, directory: Path) -> None:
        self.ca = TestAuthority(directory)
        self.root = self.ca.root
        self.here = new_uuid()
        self.http: HttpAgents = self.ca.master(self.here)
        for name, text in {
            "users": "ann HASH write\n",
            "store.json": "{}",
            "store/password": "pässword\n",
            "master.json": json.dumps({"api_host": "192.0.2.1", "api_port": 5099}),
        }.items():
            files.write(self.root / files.BELOW / name, text)
        self.processes = {
            name: AgentProcess(directory, self.ca, name) for name in (CANDIDATE, REGULAR)
        }
        cluster = Cluster(
            uuid=self.ca.cluster,
            name="cluster.example.com",
            master_node=self.here,
            enabled_hypervisors=(HypervisorName.FAKE,),
        )
        nodes = [self.node(name) for name in self.processes]
        self.queue = FakeQueue([cluster, Group(uuid=GROUP, name="default"), *nodes])
        for node in nodes:
            self.queue.set_live(node.uuid, NodeLive(reachable=True, since=0.0))
        mastership = Mastership(
            node=self.here, epoch=1, revision=1, lease_left=lambda: 10.0, announced={}
        )
        self.clock = Clock()
        self.candidates = Candidates(
            self.root, self.here, self.queue, self.http, self.clock, mastership
        )

    def node(self, name: str) -> Node:
        process = self.processes[name]
        return Node(
            uuid=process.uuid,
            name=f"{name}.example.com",
            primary_ip=process.configuration.host,
            secondary_ip=process.configuration.host,
            port=process.configuration.port,
            group=GROUP,
            master_candidate=name == CANDIDATE,
        )

    def change(self, process: str, **changes: Any) -> None:
        node = self.queue.cluster.nodes[self.processes[process].uuid]
        self.queue.put(msgspec.structs.replace(node, **changes))

    def root_of(self, name: str) -> Path:
        return self.processes[name].root / files.BELOW

    def held(self, name: str) -> dict[str, str]:
        """What is really on the node's disk."""
        root = self.processes[name].root
        return {one: (root / files.BELOW / one).read_text() for one in files.of_master(root)}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await asyncio.gather(*(process.start() for process in made.processes.values()))
    yield made
    await made.http.close()
    await asyncio.gather(*(process.close() for process in made.processes.values()))


async def test_a_candidate_gets_what_a_master_needs_and_another_node_nothing(site: Site) -> None:
    await site.candidates.look()
    held = site.held(CANDIDATE)
    assert set(held) == WHOLE
    assert site.held(REGULAR) == {}
    for name in ("users", "store/password", "pki/ca.key", "pki/master.key", "pki/master.pem"):
        assert held[name] == (site.root / files.BELOW / name).read_text()
    configured = msgspec.json.decode(held["master.json"], type=MasterConfiguration)
    address = site.processes[CANDIDATE].address.host
    assert (configured.api_host, configured.api_port) == (address, 5099)
    authority = Authority.load(site.processes[CANDIDATE].root)
    hosts = ["cluster.example.com", "node2.example.com", address]
    assert authority.serves(held["pki/api.pem"], hosts, site.clock.now())
    for name in held:
        path = site.root_of(CANDIDATE) / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_keys_are_in_no_log_and_in_no_memory_of_the_agent(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await site.candidates.look()
    process = site.processes[CANDIDATE]
    key = site.held(CANDIDATE)["pki/ca.key"].splitlines()[1]
    kept = b"".join(
        path.read_bytes() for path in (process.root / "var").rglob("*") if path.is_file()
    )
    assert key.encode() not in kept
    assert key not in process.log() + caplog.text
    assert "candidate" in caplog.text


async def test_the_waiting_master_process_is_woken(site: Site) -> None:
    path = site.processes[CANDIDATE].root / "run/gantry/standby.sock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as standby:
        standby.bind(str(path))
        standby.settimeout(10)
        await site.candidates.look()
        assert await asyncio.to_thread(standby.recv, 100)


async def test_only_what_changed_is_sent_again(site: Site) -> None:
    await site.candidates.look()
    before = site.held(CANDIDATE)
    moment = (site.root_of(CANDIDATE) / "pki/ca.key").stat().st_mtime_ns
    await site.candidates.look()
    files.write(site.root / files.BELOW / "users", "eve HASH read\n")
    (site.root / files.BELOW / "store.json").unlink()
    await site.candidates.look()
    after = site.held(CANDIDATE)
    assert after.pop("users") == "eve HASH read\n"
    assert after == {name: before[name] for name in WHOLE - {"users", "store.json"}}
    assert (site.root_of(CANDIDATE) / "pki/ca.key").stat().st_mtime_ns == moment


async def test_a_demoted_node_loses_them_and_a_promoted_one_gets_them(site: Site) -> None:
    await site.candidates.look()
    site.change(CANDIDATE, master_candidate=False)
    site.change(REGULAR, master_candidate=True)
    await site.candidates.look()
    assert site.held(CANDIDATE) == {}
    assert set(site.held(REGULAR)) == WHOLE
    kept = {path.name for path in (site.root_of(CANDIDATE) / "pki").iterdir()}
    assert kept == {"ca.pem", "node.pem", "node.key"}


async def test_what_a_killed_agent_left_half_written_goes_too(site: Site) -> None:
    left = site.root_of(CANDIDATE) / "pki/.ca.key.new"
    left.write_text("a key")
    await site.candidates.look()
    assert not left.exists()
    left.write_text("a key")
    site.change(CANDIDATE, master_candidate=False)
    await site.candidates.look()
    kept = {path.name for path in (site.root_of(CANDIDATE) / "pki").iterdir()}
    assert kept == {"ca.pem", "node.pem", "node.key"}


async def test_a_node_that_was_away_is_seen_to_when_it_is_back(site: Site) -> None:
    await site.candidates.look()
    process = site.processes[CANDIDATE]
    await process.kill()
    files.write(site.root / files.BELOW / "users", "")
    await site.candidates.look()
    (process.root / files.BELOW / "pki/ca.key").write_text("damaged")
    await process.start()
    await site.candidates.look()
    held = site.held(CANDIDATE)
    assert (held["users"], held["pki/ca.key"]) == (
        "",
        (site.root / files.BELOW / "pki/ca.key").read_text(),
    )
    (process.root / files.BELOW / "pki/ca.key").unlink()
    await site.candidates.look()
    assert "pki/ca.key" not in site.held(CANDIDATE), "nothing said that it changed"
    site.candidates.came(process.uuid)
    await site.candidates.look()
    assert set(site.held(CANDIDATE)) == WHOLE


async def test_an_api_certificate_is_renewed_in_time_and_after_a_move(site: Site) -> None:
    await site.candidates.look()
    first = site.held(CANDIDATE)
    site.clock.later = (5 * 365 - 29) * 86400.0
    await site.candidates.look()
    second = site.held(CANDIDATE)
    assert second["pki/api.pem"] != first["pki/api.pem"]
    assert second["pki/api.key"] != first["pki/api.key"]
    site.change(CANDIDATE, name="node9.example.com")
    await site.candidates.look()
    assert site.held(CANDIDATE)["pki/api.pem"] != second["pki/api.pem"]


async def test_what_is_followed_comes_by_itself(site: Site) -> None:
    following = asyncio.create_task(site.candidates.follow())
    process = site.processes[REGULAR]
    site.change(REGULAR, master_candidate=True)
    site.candidates.refresh()
    async with asyncio.timeout(100):
        while set(site.held(REGULAR)) != WHOLE:
            await site.http.ask(process.address, ReadMasterFiles(), 5.0)
    following.cancel()


async def test_files_that_cannot_be_written_are_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    place = site.root_of(CANDIDATE) / "store"
    place.write_text("in the way")
    await site.candidates.look()
    assert "node node2.example.com" in caplog.text
    assert "cannot be kept" in caplog.text
    assert site.held(CANDIDATE) == {}, "all or nothing"
    place.unlink()
    await site.candidates.look()
    assert set(site.held(CANDIDATE)) == WHOLE


async def test_a_node_that_leaves_keeps_nothing(site: Site) -> None:
    await site.candidates.look()
    process = site.processes[CANDIDATE]
    envelope = Envelope(
        key="j/leave", job=1, epoch=1, until=site.clock.monotonic() + 10, timeout=10.0
    )
    await site.http.order(process.address, envelope, NodeLeave(cluster=site.ca.cluster))
    assert site.held(CANDIDATE) == {}
