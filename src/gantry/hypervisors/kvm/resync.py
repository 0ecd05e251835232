"""What a replica that comes back lacks: two bitmaps in turn, in the QEMU that writes the disk.

Both count every write. When both have counted for a while with every mirror of the disk in
order, the older one is emptied: what it held is everywhere. So what they hold together is all
that a replica may lack that was in order up to its loss. A write that is under way to a replica
when a bitmap is emptied is in the other one, which is emptied only after a moment without any
such write has been seen.

Which content on which node they speak of is kept in QEMU as well, as the name of an empty
bitmap: it is gone with what it speaks of. See docs/adr/0015-mirror.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

from gantry.hypervisors.kvm import block_jobs
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.names import Uuid

SINCE: Final = ("since0", "since1")
KEPT: Final = "since"
"""Their union, where it is kept while QEMU does not run; see ``keeping``."""
_MISSING: Final = "missing"
_KNOWN: Final = "known:"
COARSE: Final = 1 << 30


class Turns:
    """Which bitmap of one disk is to be emptied next, and when; nothing of it is in QEMU.

    A next agent begins anew, with both as they are, which only means that more is copied.
    """

    def __init__(self, now: float) -> None:
        self._older = 0
        self._emptied = now
        self._quiet = False

    def look(self, *, quiet: bool, now: float, pause: float) -> str | None:
        """The bitmap that may be emptied now. ``quiet``: no write is under way to a replica.

        ``pause``: seconds for which each counts at least.
        """
        self._quiet = self._quiet or quiet
        if not self._quiet or now - self._emptied < pause:
            return None
        name = SINCE[self._older]
        self._older, self._emptied, self._quiet = 1 - self._older, now, False
        return name

    def disturbed(self) -> None:
        """A mirror is not in order: what was seen counts no more."""
        self._quiet = False


async def count(monitor: Monitor, index: int) -> None:
    """Both bitmaps count from now on, at the latest."""
    there = await _bitmaps(monitor, index)
    for name in SINCE:
        if name not in there:
            await monitor.execute("block-dirty-bitmap-add", node=f"disk{index}", name=name)


async def count_no_more(monitor: Monitor, index: int) -> None:
    """Nothing is counted, and nothing known of any replica; nothing is copied."""
    for name in await _bitmaps(monitor, index):
        if name in SINCE or name.startswith((_KNOWN, _MISSING)):
            await _remove(monitor, index, name)


def counting(index: int) -> list[tuple[str, dict[str, object]]]:
    """The commands by which both count in a QEMU that has neither. Pure."""
    return [("block-dirty-bitmap-add", {"node": f"disk{index}", "name": name}) for name in SINCE]


async def turn(
    monitor: Monitor, index: int, turns: Turns, nodes: Set[Uuid], *, quiet: bool
) -> None:
    """Empty a bitmap, where its turn has come: all that it holds is on ``nodes``.

    None is emptied while a replica elsewhere is known, which lacks what they hold.
    """
    if not nodes >= (await known(monitor, index)).keys():
        turns.disturbed()
        return
    name = turns.look(quiet=quiet, now=time.monotonic(), pause=timeouts.BITMAP_TURN)
    if name is not None:
        await monitor.execute("block-dirty-bitmap-clear", node=f"disk{index}", name=name)


async def known(monitor: Monitor, index: int) -> dict[Uuid, str]:
    """The words for the content of replicas that the bitmaps speak of, by node."""
    return spoken_of(await _bitmaps(monitor, index))


def spoken_of(names: Iterable[str]) -> dict[Uuid, str]:
    """The same, from the names of bitmaps. Pure."""
    found = {}
    for name in names:
        if name.startswith(_KNOWN):
            node, _, content = name.removeprefix(_KNOWN).partition(":")
            found[Uuid(node)] = content
    return found


def known_name(node: Uuid, content: str) -> str:
    """Of the empty bitmap that says that the others speak of a replica. Pure."""
    return f"{_KNOWN}{node}:{content}"


async def know(monitor: Monitor, index: int, node: Uuid, content: str) -> None:
    """The replica there has everything that the disk has now; its content has that word."""
    there = await _bitmaps(monitor, index)
    commands = [_removing(index, name) for name in _about(there, node, content)]
    if known_name(node, content) not in there:
        commands.append(knowing(index, node, content))
    await monitor.execute_all(commands)


def knowing(index: int, node: Uuid, content: str) -> tuple[str, dict[str, Any]]:
    """The command by which that comes to be known in a QEMU that knows nothing of it. Pure."""
    marker = {"name": known_name(node, content), "granularity": COARSE, "disabled": True}
    return "block-dirty-bitmap-add", {"node": f"disk{index}", **marker}


async def forget(monitor: Monitor, index: int, node: Uuid) -> None:
    """Nothing is known of the replica there (any more)."""
    for name in _about(await _bitmaps(monitor, index), node):
        await _remove(monitor, index, name)


def _about(names: Iterable[str], node: Uuid, but: str = "") -> list[str]:
    """What says of a replica there that it is known, unless it is of that content. Pure."""
    beginning = f"{_KNOWN}{node}:"
    return [one for one in names if one.startswith(beginning) and one != beginning + but]


async def copy(monitor: Monitor, index: int, node: Uuid, *, speed: int) -> None:
    """Begin to copy what the bitmaps hold, while a mirror already passes new writes on.

    QEMU copies a block before a new write to it, which the mirror then sends after it. Over a
    connection of its own, which must be there (purpose ``copy``); no other copy may be begun.
    """
    missing = _MISSING + node
    node_name = f"disk{index}"
    # Disabled: a write from now on is the mirror's.
    made = {"node": node_name, "name": missing, "disabled": True}
    merged = {"node": node_name, "target": missing, "bitmaps": list(SINCE)}
    job = {
        "job-id": block_jobs.copy_name(index, node),
        "device": node_name,
        "target": block_jobs.remote_name(index, node, "copy"),
        "sync": "incremental",
        "bitmap": missing,
        "speed": speed,
    }
    # All or nothing: a copy by a bitmap that does not hold everything would seem complete.
    actions = [
        {"type": "block-dirty-bitmap-add", "data": made},
        {"type": "block-dirty-bitmap-merge", "data": merged},
        {"type": "blockdev-backup", "data": job},
    ]
    await monitor.execute("transaction", timeouts.URGENT, actions=actions)


async def begun(monitor: Monitor, index: int, node: Uuid) -> bool:
    """Whether such a copy was begun, and ``abandon`` was not called since."""
    return _MISSING + node in await _bitmaps(monitor, index)


async def complete(monitor: Monitor, index: int, node: Uuid) -> bool:
    """Whether the copy, whose job has ended, has copied everything: its bitmap is empty then."""
    return (await _bitmaps(monitor, index)).get(_MISSING + node) == 0


async def abandon(monitor: Monitor, index: int, node: Uuid) -> None:
    """What a copy needed goes; its job has ended."""
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    connection = block_jobs.remote_name(index, node, "copy")
    commands = []
    if any(one["node-name"] == connection for one in nodes):
        commands += block_jobs.disconnecting(connection)
    if _MISSING + node in _among(nodes, f"disk{index}"):
        commands.append(_removing(index, _MISSING + node))
    await monitor.execute_all(commands, timeouts.URGENT)


async def _remove(monitor: Monitor, index: int, name: str) -> None:
    await monitor.execute_all([_removing(index, name)])


def _removing(index: int, name: str) -> tuple[str, dict[str, object]]:
    return "block-dirty-bitmap-remove", {"node": f"disk{index}", "name": name}


async def _bitmaps(monitor: Monitor, index: int) -> dict[str, int]:
    """The bitmaps of a disk by name, and how many bytes each holds."""
    found = await bitmaps(monitor, f"disk{index}")
    return {name: int(bitmap["count"]) for name, bitmap in found.items()}


async def bitmaps(monitor: Monitor, node: str) -> dict[str, dict[str, Any]]:
    """The bitmaps of a node as QEMU describes them, by name."""
    return _among(await monitor.execute("query-named-block-nodes", flat=True), node)


def _among(nodes: Iterable[Mapping[str, Any]], node: str) -> dict[str, dict[str, Any]]:
    """The same, of all nodes. Pure."""
    return {
        str(bitmap["name"]): bitmap
        for one in nodes
        if one["node-name"] == node
        for bitmap in one.get("dirty-bitmaps", [])
        if "name" in bitmap
    }
