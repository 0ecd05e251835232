"""Orders and questions about this node's bundle of hooks."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

from gantry.agent.bundle_files import Bundles
from gantry.agent.effect import Task
from gantry.agent.hooks import DIRECTORY
from gantry.agent.parts import Parts
from gantry.model import bundles
from gantry.model.bundle_orders import BundleInstall, BundleRestore, InstalledBundle, ReadBundle
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import Nothing


def of(root: Path) -> Bundles:
    """The bundles of the node with that root."""
    return Bundles(root / DIRECTORY)


async def install(parts: Parts, order: BundleInstall, task: Task) -> Nothing:
    """All of it, or the old one stays; nothing is switched before its hash is right."""
    files = await asyncio.to_thread(bundles.unpack, order.packed)
    found = bundles.digest(bundles.entries(files))
    if found != order.sha256:
        raise Rejected(
            f"the bundle that came to node {parts.node} is {found[:12]}, not {order.sha256[:12]}",
            "push it again",
            node=parts.node,
        )
    try:
        await asyncio.to_thread(of(parts.root).install, order.sha256, files, replace=order.replace)
    except OSError as error:
        raise _failed(parts, error) from error
    parts.facts.disturbed()
    return Nothing()


async def restore(parts: Parts, order: BundleRestore, task: Task) -> Nothing:
    """The bundle before, as it was."""
    try:
        await asyncio.to_thread(of(parts.root).restore, order.sha256, order.undoing)
    except OSError as error:
        raise _failed(parts, error) from error
    parts.facts.disturbed()
    return Nothing()


async def read(parts: Parts, question: ReadBundle) -> InstalledBundle:
    """As it is now."""
    return await asyncio.to_thread(of(parts.root).read)


def _failed(parts: Parts, error: OSError) -> OperationFailed:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    where = f" ({error.filename})" if error.filename else ""
    return OperationFailed(
        f"the bundle cannot be put into {parts.root / DIRECTORY} of node {parts.node}: "
        f"{error.strerror}{where}",
        "make room there" if full else "mend the rights of the directory",
        reason=Reason.ENVIRONMENT,
        node=parts.node,
    )
