"""Envelopes and specifications as a master would make them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.contract.agents.harness import Harness
from tests.support.agent_process import new_uuid

from gantry.host.clock import boottime
from gantry.model.entities import DiskTemplate
from gantry.model.orders import (
    Delay,
    DiskSpec,
    GuestSpec,
    GuestStart,
    GuestStop,
    HookDirectory,
    HooksRun,
    Nothing,
    OsRun,
)
from gantry.ports.agents import Envelope


def envelope(key: str, **changes: Any) -> Envelope:
    """``lease`` is in seconds from now; the rest are an envelope's fields."""
    until = boottime() + changes.pop("lease", 10.0)
    given: dict[str, Any] = {"job": 7, "epoch": 1, "until": until, "timeout": 10.0, **changes}
    return Envelope(key=key, **given)


def disk(path: str = "/srv/ganeti/file-storage/web1/disk0", size: int = 1) -> DiskSpec:
    return DiskSpec(uuid=new_uuid(), index=0, size=size, path=path, template=DiskTemplate.FILE)


def guest(name: str = "web1.example.com") -> GuestSpec:
    return GuestSpec(uuid=new_uuid(), name=name, hypervisor="fake", memory=128, vcpus=1)


def start(spec: GuestSpec) -> GuestStart:
    return GuestStart(spec=spec)


def stop(spec: GuestSpec) -> GuestStop:
    return GuestStop(uuid=spec.uuid, hypervisor="fake", timeout=5.0)


def hooks(directory: str = "instance-start-pre.d", **changes: Any) -> HooksRun:
    given: dict[str, Any] = {
        "directories": (HookDirectory(name=directory, version=1),),
        "environments": {"1": {"PATH": "/usr/bin:/bin", "GANETI_HOOKS_VERSION": "1"}},
        "main_version": 1,
        "job": 7,
        "run_id": "run",
        "attempt": 1,
        **changes,
    }
    return HooksRun(**given)


def os_run(os: str, *disks: DiskSpec) -> OsRun:
    return OsRun(
        os=os,
        uuid=new_uuid(),
        name="web1.example.com",
        hypervisor="fake",
        ctime=1.0,
        mtime=1.0,
        primary_node=(new_uuid(), "node1"),
        disks=disks,
    )


async def begun(
    harness: Harness, key: str, seconds: float, **changes: Any
) -> asyncio.Task[Nothing]:
    """A delay that is running on the node when this returns."""
    running = asyncio.Event()
    order = harness.agents.order(
        harness.address,
        envelope(key, **changes),
        Delay(duration=seconds),
        lambda line: running.set(),
    )
    task = asyncio.get_running_loop().create_task(_collect(order))
    await running.wait()
    return task


async def _collect(order: Any) -> Nothing:
    answer: Nothing = await order
    return answer
