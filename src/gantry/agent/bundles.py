"""Orders and questions about this node's bundles: of hooks, and of OS definitions."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

from gantry.agent.bundle_definitions import Definition, pushed
from gantry.agent.bundle_files import BundleFiles
from gantry.agent.bundle_hooks import HookBundles
from gantry.agent.effect import Task
from gantry.agent.hooks import DIRECTORY
from gantry.agent.parts import Parts
from gantry.model import bundles
from gantry.model.bundle_orders import BundleInstall, BundleRestore, InstalledBundle, ReadBundle
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import Nothing
from gantry.osdefs import check


def of(root: Path, target: str) -> BundleFiles:
    """The bundles of that target on the node with that root; Rejected where it is none."""
    name = bundles.os_name(bundles.check_target(target))
    return Definition(root / bundles.DEFINITIONS, name) if name else HookBundles(root / DIRECTORY)


def recover(root: Path) -> None:
    """Finish, or take back, what an agent that was killed had begun."""
    for target in _targets(root):
        of(root, target).recover()


def current(root: Path) -> dict[str, str]:
    """The hash of the node's bundle of each target that it has one of."""
    found = {target: of(root, target).current() for target in _targets(root)}
    return {target: sha256 for target, sha256 in found.items() if sha256}


def _targets(root: Path) -> list[str]:
    names = [name for name in pushed(root / bundles.DEFINITIONS) if check.is_name(name)]
    return [bundles.HOOKS, *map(bundles.of_os, names)]


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
        place = of(parts.root, order.target)
        await asyncio.to_thread(place.install, order.sha256, files, replace=order.replace)
    except OSError as error:
        raise _failed(parts, order.target, error) from error
    parts.facts.disturbed()
    return Nothing()


async def restore(parts: Parts, order: BundleRestore, task: Task) -> Nothing:
    """The bundle before, as it was."""
    try:
        await asyncio.to_thread(of(parts.root, order.target).restore, order.sha256, order.undoing)
    except OSError as error:
        raise _failed(parts, order.target, error) from error
    parts.facts.disturbed()
    return Nothing()


async def read(parts: Parts, question: ReadBundle) -> InstalledBundle:
    """As it is now."""
    return await asyncio.to_thread(of(parts.root, question.target).read)


def _failed(parts: Parts, target: str, error: OSError) -> OperationFailed:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    where = f" ({error.filename})" if error.filename else ""
    place = parts.root / bundles.DEFINITIONS if bundles.os_name(target) else parts.root / DIRECTORY
    return OperationFailed(
        f"the bundle cannot be put into {place} of node {parts.node}: {error.strerror}{where}",
        "make room there" if full else "mend the rights of the directory",
        reason=Reason.ENVIRONMENT,
        node=parts.node,
    )
