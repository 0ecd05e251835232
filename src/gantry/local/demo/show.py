"""What is shown, in its order: ``gantry local demo``, which is ``make demo``."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from gantry.local import description
from gantry.local.demo.stage import Stage
from gantry.local.down import down
from gantry.local.progress import Progress
from gantry.local.shipped import shipped
from gantry.local.up import Cluster, Wishes, up
from gantry.model.errors import GantryError, Rejected

GUEST: Final = "web1.gantry.test"
ADDRESS: Final = "10.0.2.15"
DENIED: Final = "forbidden1.gantry.test"
RECORD: Final = "var/log/ganeti/hooks-that-ran"
"""Where the sample hooks write, below a node's root."""
_BOOT: Final = 90.0
"""Seconds that the guest has to say that it is up; emulated it takes 4 to 15."""


async def demo(directory: Path | None, *, keep: bool, fake: bool) -> int:
    """Show it all; the exit status. The cluster is taken down even where a step fails."""
    began = time.monotonic()
    place = directory or Path(tempfile.mkdtemp(prefix="gantry-demo-"))
    if place.is_dir() and any(place.iterdir()):
        raise Rejected(
            f"{place} is not empty: the demo makes a cluster of its own and removes it",
            "choose a new directory, or leave --dir out",
        )
    _heed_signals()
    problem = ""
    try:
        await _play(place, fake)
    except GantryError as error:
        problem = f"{error}\n{error.hint}".rstrip()
    except asyncio.CancelledError:
        problem = "it was interrupted"
    if not keep:
        problem = await _take_down(place) or problem
    took = time.monotonic() - began
    if problem:
        sys.stderr.write(f"\ndemo failed after {took:.1f} s: {problem}\n")
        return 1
    sys.stdout.write(f"\nThe demo took {took:.1f} s.\n")
    if keep:
        sys.stdout.write(f'To go on: eval "$(gantry local env --dir {place})"\n')
    return 0


def _heed_signals() -> None:
    """Being told to end leads to the taking down, like Ctrl-C."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _play(place: Path, fake: bool) -> None:
    first = Stage({})
    first.tell("a cluster of three nodes on this machine")
    argv = ["gantry", "local", "up", "--nodes", "3", "--dir", str(place)]
    first.show(argv)
    hypervisors = ("fake",) if fake else ("kvm", "fake")
    wishes = Wishes(nodes=3, hypervisors=hypervisors, kernel=not fake)
    cluster = await up(place, wishes, Progress(sys.stdout))
    stage = Stage(cluster.operator().environment)
    stage.write(f'$ eval "$(gantry local env --dir {place})"\n')
    await stage.run("gnt-node", "list")
    await _put_hooks(stage, cluster)
    stage.tell("a guest, installed by an OS definition")
    await stage.run("gnt-os", "list")
    await stage.run(*_add(GUEST))
    if not fake:
        stage.tell("the guest itself says that it is up")
        await stage.watch_console(
            "gnt-instance",
            "console",
            GUEST,
            until=f"{GUEST} is up, address {ADDRESS}",
            timeout=_BOOT,
        )
    await stage.run("gnt-instance", "list")
    stage.tell("the hooks that ran, node by node, with their results")
    _show_record(stage, cluster)
    stage.tell("an operation that a hook of the site denies: nothing is changed")
    await stage.run(*_add(DENIED), fails=True)
    stage.tell("stop it and remove it")
    await stage.run("gnt-instance", "shutdown", GUEST)
    await stage.run("gnt-instance", "list")
    await stage.run("gnt-instance", "remove", "-f", GUEST)
    await stage.run("gnt-instance", "list")
    await stage.run("gnt-job", "list")
    stage.tell("all hooks that ran")
    _show_record(stage, cluster)


def _add(name: str) -> list[str]:
    words = "gnt-instance add -t file -s 256M -o busybox -n node2 -B memory=128M"
    return [*words.split(), "--net", f"0:mode=user,ip={ADDRESS}", name]


async def _put_hooks(stage: Stage, cluster: Cluster) -> None:
    stage.tell("sample hooks on every node")
    samples = shipped("examples/demo-hooks")
    for node in cluster.about.nodes:
        target = cluster.layout.root(node) / "etc/ganeti/hooks"
        await stage.run("cp", "-R", f"{samples}/.", str(target))


def _show_record(stage: Stage, cluster: Cluster) -> None:
    for node in cluster.about.nodes:
        record = cluster.layout.root(node) / RECORD
        stage.show(["cat", str(record)])
        stage.write(record.read_text() if record.exists() else "(none)\n")


async def _take_down(place: Path) -> str:
    """End and remove everything; what went wrong, or nothing."""
    try:
        if description.load(place) is not None:
            stage = Stage({})
            stage.tell("take everything down")
            stage.show(["gantry", "local", "down", "--dir", str(place)])
            await down(place, False, Progress(sys.stdout))
            stage.show(["rm", "-r", str(place)])
    except GantryError as error:
        return f"{error}\n{error.hint}".rstrip()
    if place.exists():
        shutil.rmtree(place)
    return ""
