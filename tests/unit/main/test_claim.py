"""A state that is brought back into a file is the state of the node that it is brought back on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from tests.fakes.cluster import node_uuid

from gantry.agent import configuration as agent_configuration
from gantry.jobs import codec
from gantry.jobs.codec import StoredEpoch
from gantry.jobs.election import LEAP
from gantry.jobs.recovery import read_snapshot
from gantry.main import state
from gantry.main import store as stores
from gantry.main.bootstrap import Settings, init
from gantry.model.codec import encode
from gantry.model.entities import CLUSTER_KEY, key
from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.ports.store import Put


async def made(root: Path) -> Path:
    """A node whose cluster's state is in a file, once of another node's master."""
    settings = Settings(
        cluster_name="cluster.example.com", node_name="node1.example.com", primary_ip="127.0.0.1"
    )
    await init(root, settings, lambda text: None)
    store = await stores.open_store(root)
    cluster = await read_snapshot(store)
    other = msgspec.structs.replace(
        cluster.master, uuid=node_uuid(2), name="node2.example.com", primary_ip="127.0.0.2"
    )
    moved = msgspec.structs.replace(cluster.cluster, master_node=other.uuid)
    here = msgspec.structs.replace(cluster.master, master_candidate=False, offline=True)
    epoch = StoredEpoch(epoch=5, node=other.uuid)
    await store.txn(
        [],
        [
            Put(key(other), encode(other)),
            Put(key(here), encode(here)),
            Put(CLUSTER_KEY, encode(moved)),
            Put(codec.EPOCH, codec.encode(epoch)),
        ],
    )
    await store.close()
    return root


async def found(root: Path) -> tuple[Snapshot, StoredEpoch]:
    store = await stores.open_store(root)
    item = await store.get(codec.EPOCH)
    assert item is not None
    result = await read_snapshot(store), codec.decode(codec.EPOCH, item.value, StoredEpoch)
    await store.close()
    return result


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return asyncio.run(made(tmp_path))


def test_a_copy_of_another_nodes_master_becomes_this_nodes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = agent_configuration.read(root).node
    assert state.main(["backup", "--root", str(root)]) == 0
    capsys.readouterr()
    assert state.main(["restore", "--root", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["old_master"] == "node2.example.com"
    cluster, epoch = asyncio.run(found(root))
    assert (cluster.cluster.master_node, cluster.cluster.failed_over_from) == (here, node_uuid(2))
    assert (epoch.epoch, epoch.node) == (5 + LEAP, here)
    assert (cluster.master.master_candidate, cluster.master.offline) == (True, False)


def test_a_copy_that_does_not_know_this_node_changes_nothing(root: Path) -> None:
    state.main(["backup", "--root", str(root)])
    about = agent_configuration.read(root)
    stranger = Uuid("99999999-0000-4000-8000-000000000009")
    agent_configuration.write(root, msgspec.structs.replace(about, node=stranger))
    before = asyncio.run(found(root))
    with pytest.raises(Rejected, match="does not know this node") as told:
        state.main(["restore", "--root", str(root)])
    assert "node1.example.com, node2.example.com" in told.value.hint
    assert asyncio.run(found(root)) == before
