"""A node that is about to write to its replica itself gets it from the daemon that served it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.support.agent_process import TestAuthority
from tests.support.replica_nodes import ReplicaNode, disk_spec

from gantry.host import image_locks
from gantry.model.orders import DiskSpec

pytestmark = pytest.mark.qemu


class Served:
    """A replica on ``there`` that is served to ``here``."""

    def __init__(self, here: ReplicaNode, there: ReplicaNode, disk: DiskSpec) -> None:
        self.here, self.there, self.disk = here, there, disk

    def locked(self) -> bool:
        return image_locks.held(self.there.path(self.disk))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    ca = TestAuthority(tmp_path)
    here, there = (ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2"))
    disk = disk_spec()
    await there.create(disk)
    await there.serve(disk, here)
    yield Served(here, there, disk)
    await there.close(disk)


async def test_its_file_is_free_before_the_daemon_has_ended(served: Served) -> None:
    there, disk = served.there, served.disk
    pid = there.pid(disk)
    assert served.locked()

    ending = await there.daemons.leave(disk)

    assert not served.locked()
    assert there.daemons.served(disk.uuid) is None
    await ending
    assert not Path(f"/proc/{pid}").exists()
    # Nobody has written: it is what it was, and can be served again.
    await there.serve(disk, served.here)
    assert served.locked()


async def test_one_that_does_not_answer_is_killed(served: Served) -> None:
    there, disk = served.there, served.disk
    os.kill(there.pid(disk), signal.SIGSTOP)

    await (await there.daemons.leave(disk))

    assert not served.locked()


async def test_the_daemon_of_an_earlier_agent_leaves_as_well(served: Served) -> None:
    there, disk = served.there, served.disk
    await there.restart_agent()

    ending = await there.daemons.leave(disk)

    assert not served.locked()
    await ending


async def test_what_waits_serves_once_the_one_before_has_let_go(served: Served) -> None:
    there, disk = served.there, served.disk
    pid = there.pid(disk)
    after = msgspec.structs.replace(disk, generation=2)
    waits = await there.daemons.prepare(after, served.here.peer, there.host)

    target = await there.serve(after, served.here)

    assert target.port == waits.port
    assert not Path(f"/proc/{pid}").exists()
    found = await served.here.means.peers.exports(target)
    assert disk.uuid in found
    # It is an ordinary one now: the next agent finds it.
    await there.restart_agent()
    assert there.pid(disk) == waits.pid
