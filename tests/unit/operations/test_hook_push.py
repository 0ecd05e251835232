"""Which bundle a push means, for which nodes, and what is wanted from then on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.faults.situations import BUNDLES

from gantry.jobs.codec import DebrisRecord
from gantry.jobs.debris import _due
from gantry.model import bundles, rollout
from gantry.model.bundles import HOOKS, BundleFile
from gantry.model.entities import Rollout
from gantry.model.errors import Rejected
from gantry.model.jobs import Job, JobStatus, LogKind
from gantry.model.orders import BundleRestore

PUSH = {"OP_ID": "OP_HOOK_PUSH"}
FIRST, SECOND = BUNDLES


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    made = await FakeCluster.make(BUNDLES)
    await made.start()
    yield made
    await made.close()


def there(cluster: FakeCluster) -> list[str]:
    return [
        cluster.world.nodes[node_uuid(number)].bundles_of(HOOKS).current for number in (1, 2, 3)
    ]


def wanted(cluster: FakeCluster) -> list[int | None]:
    snapshot = cluster.engine.snapshot()
    return [rollout.wanted(snapshot, HOOKS, node_uuid(number)) for number in (1, 2, 3)]


async def push(cluster: FakeCluster, **fields: Any) -> Job:
    job = await cluster.run({**PUSH, **fields})
    await cluster.engine.settle()
    return job


async def refused(cluster: FakeCluster, **fields: Any) -> str:
    job = await push(cluster, **fields)
    assert job.status is JobStatus.ERROR
    error = job.ops[0].error
    assert error is not None
    return f"{error.message} ({error.hint})"


async def test_all_nodes_then_one_then_back(cluster: FakeCluster) -> None:
    await push(cluster, bundle=1)
    assert there(cluster) == [FIRST.sha256] * 3
    await push(cluster, bundle=2, node_names=("node2",))
    assert wanted(cluster) == [1, 2, 1]
    assert "do not all have the same" in await refused(cluster)
    await push(cluster, node_names=("node2",))
    assert wanted(cluster) == [1, 1, 1]
    await push(cluster, bundle=2)
    await push(cluster)
    assert there(cluster) == [FIRST.sha256] * 3
    job = await push(cluster)
    assert job.ops[0].result["bundle"] == 0
    assert there(cluster) == [""] * 3
    assert "nothing to go back from" in await refused(cluster)


async def kept(cluster: FakeCluster, *numbers: int) -> None:
    """Further bundles are kept, up to the last of these numbers."""
    for number in numbers:
        files = [BundleFile(path="site/words", mode=0o644, content=str(number).encode())]
        made = await cluster.engine.uploads.bundle(HOOKS, bundles.pack(bundles.check(files)))
        assert made.number == number


async def rolled_back(cluster: FakeCluster, **fields: Any) -> int:
    job = await push(cluster, **fields)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    number: int = job.ops[0].result["bundle"]
    return number


async def test_a_rollback_goes_to_what_was_in_force_before(cluster: FakeCluster) -> None:
    """Never to a bundle that was itself rolled back from, however often."""
    await kept(cluster, 3, 4)
    for number in (1, 2):
        await push(cluster, bundle=number)
    assert await rolled_back(cluster) == 1
    await push(cluster, bundle=3)
    await push(cluster, bundle=4)
    assert [await rolled_back(cluster) for _ in range(3)] == [3, 1, 0]
    assert wanted(cluster) == [0, 0, 0]


async def test_an_old_directory_that_is_pushed_again_is_a_push(cluster: FakeCluster) -> None:
    for number in (1, 2, 1, 1):
        await push(cluster, bundle=number)
    assert [await rolled_back(cluster) for _ in range(3)] == [2, 1, 0]


async def test_who_goes_back_by_number_rolls_back_from_all_after_it(cluster: FakeCluster) -> None:
    await kept(cluster, 3)
    for number in (1, 2, 3):
        await push(cluster, bundle=number)
    await push(cluster, bundle=1, going_back=True)
    assert await rolled_back(cluster) == 0, "neither 2 nor 3, which were taken back"
    await push(cluster, bundle=3, going_back=True)
    await push(cluster, bundle=2, going_back=True)
    assert await rolled_back(cluster) == 3, "2 was not in force before it: that was a step ahead"


async def test_each_node_goes_back_to_what_it_had(cluster: FakeCluster) -> None:
    await kept(cluster, 3)
    await push(cluster, bundle=2)
    await push(cluster, bundle=1, node_names=("node2",))
    await push(cluster, bundle=3, node_names=("node2", "node3"))
    assert wanted(cluster) == [2, 3, 3]
    both = ("node2", "node3")
    assert "did not all have the same bundle before" in await refused(cluster, node_names=both)
    assert await rolled_back(cluster, node_names=("node2",)) == 1
    assert await rolled_back(cluster, node_names=("node3",)) == 2
    await push(cluster, bundle=3, node_names=("node1",))
    await push(cluster, bundle=3)
    assert await rolled_back(cluster) == 2, "some had others: what was to be everywhere counts"


async def test_what_was_on_each_node_by_itself_was_in_force(cluster: FakeCluster) -> None:
    await kept(cluster, 3)
    await push(cluster, bundle=1)
    for name in ("node1", "node2", "node3"):
        await push(cluster, bundle=2, node_names=(name,))
    await push(cluster, bundle=3)
    assert [await rolled_back(cluster) for _ in range(2)] == [2, 1]


async def test_what_a_rollback_would_bring_back_is_kept(cluster: FakeCluster) -> None:
    await push(cluster, bundle=1)
    await kept(cluster, *range(3, 12))
    await push(cluster, bundle=11)
    await kept(cluster, *range(12, 22))
    assert await rolled_back(cluster) == 1
    await push(cluster, bundle=21)
    await kept(cluster, *range(22, 33))
    assert await rolled_back(cluster) == 1


async def test_of_an_older_record_the_next_lower_number_is_taken(cluster: FakeCluster) -> None:
    await push(cluster, bundle=2)
    [made] = cluster.engine.snapshot().rollouts.values()
    old = msgspec.structs.replace(made, earlier=())
    snapshot = cluster.engine.snapshot().with_changes(cluster.engine.snapshot().revision, [old])
    assert rollout.before(snapshot, HOOKS, node_uuid(1)) == 1


async def test_a_push_and_a_rollback_say_which_rules_go_with_them(cluster: FakeCluster) -> None:
    async def warned(**fields: Any) -> list[str]:
        job = await push(cluster, **fields)
        lines = await cluster.engine.log(job.id)
        return [one.text for one in lines if one.kind is LogKind.WARNING]

    assert await warned(bundle=1) == []
    [pushed] = await warned(bundle=2)
    assert "could deny: instance-add-pre.d/20-1; gnt-hook rollback --to 1 brings" in pushed
    [back] = await warned(bundle=1, node_names=("node1",))
    assert "could deny: instance-add-pre.d/20-2; gnt-hook rollback --to 2 brings" in back
    [gone] = await warned(bundle=0)
    assert "20-1, instance-add-pre.d/20-2; gnt-hook rollback --to 2" in gone, "of both kinds"
    assert "instance-add-pre.d/10-all" in gone
    assert await warned(bundle=0) == []
    assert "kept are 1, 2; gnt-hook rollback --to N" in await refused(cluster)


async def test_what_is_not_there_is_refused(cluster: FakeCluster) -> None:
    assert "there is no bundle 7 of hooks (kept are 1, 2)" in await refused(cluster, bundle=7)
    assert "node9" in await refused(cluster, bundle=1, node_names=("node9",))


async def test_local_files_in_the_way_are_named_and_nothing_is_done(cluster: FakeCluster) -> None:
    cluster.world.nodes[node_uuid(3)].bundles_of(HOOKS).local.add("instance-add-pre.d/10-all")
    said = await refused(cluster, bundle=1)
    assert "node3.example.com: instance-add-pre.d/10-all" in said
    assert there(cluster) == [""] * 3
    assert wanted(cluster) == [None] * 3
    await push(cluster, bundle=1, replace=True)
    assert there(cluster) == [FIRST.sha256] * 3


async def test_a_node_that_is_away_or_offline_is_wanted_to_have_it(cluster: FakeCluster) -> None:
    node = cluster.world.nodes[node_uuid(2)]
    cluster.agents.disconnect(node)
    await cluster.run(
        {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node3", "offline": True, "powered_off": True}
    )
    job = await push(cluster, bundle=1)
    assert job.status is JobStatus.SUCCESS
    assert job.ops[0].result["away"] == ["node2.example.com"]
    assert there(cluster) == [FIRST.sha256, "", ""]
    assert wanted(cluster) == [1, 1, 1]
    cluster.agents.reconnect(node)
    job = await push(cluster, node_names=("node2",), catch_up=True)
    assert job.ops[0].result["installed"] == ["node2.example.com"]
    assert there(cluster) == [FIRST.sha256, FIRST.sha256, ""]
    snapshot = cluster.engine.snapshot()
    [after] = snapshot.rollouts.values()
    assert after == Rollout(
        uuid=after.uuid,
        name="hooks",
        everywhere=1,
        nodes={},
        earlier=(0,),
        ctime=after.ctime,
        mtime=after.mtime,
        serial_no=after.serial_no,
    )


async def test_an_old_undo_does_not_take_back_a_later_push(cluster: FakeCluster) -> None:
    """What is owed to a node is not due any more once something else was pushed to it."""
    await push(cluster, bundle=2)
    owed = DebrisRecord(
        job=cluster.engine.jobs()[0].id, to=cluster.address(1), order=BundleRestore()
    )
    assert not _due(owed, cluster.engine.snapshot())
    await push(cluster, bundle=0)
    assert _due(owed, cluster.engine.snapshot())


async def test_bundles_are_known_by_their_hash_and_old_ones_go(cluster: FakeCluster) -> None:
    await push(cluster, bundle=1, node_names=("node1",))
    assert (await cluster.engine.uploads.bundle(HOOKS, SECOND.packed)).number == 2
    numbers = []
    for number in range(12):
        files = [BundleFile(path="f", mode=0o644, content=str(number).encode())]
        made = await cluster.engine.uploads.bundle(HOOKS, bundles.pack(bundles.check(files)))
        numbers.append(made.number)
    assert numbers == list(range(3, 15))
    kept = sorted(one.number for one in cluster.engine.snapshot().bundles.values())
    assert kept == [1, *range(5, 15)], "the newest ten, and what a node is to have"
    with pytest.raises(Rejected, match="no bundle"):
        await cluster.engine.uploads.bundle(HOOKS, b"what")
    await cluster.crash()
    await cluster.start()
    assert sorted(one.number for one in cluster.engine.snapshot().bundles.values()) == kept
