"""The files that this node needs to be the master one day: kept as the master says, or removed.

They are keys: mode 600, and nothing here says what is in them. New ones are all on the disk
before the first takes its place, so that a crash leaves the old set, or nearly all of the new
one, which the master completes when it hears of this node again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from gantry.agent import succession
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.candidate_orders import (
    MASTER_FILES,
    MasterFiles,
    MasterFilesHeld,
    ReadMasterFiles,
)
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import Nothing
from gantry.pki import files as certificates


def digests(root: Path) -> dict[str, str]:
    """SHA-256 (hex) of the files of a master below ``root``, by name."""
    return {
        name: hashlib.sha256((root / certificates.BELOW / name).read_bytes()).hexdigest()
        for name in certificates.of_master(root)
    }


def remove(root: Path) -> None:
    """Take all files of a master away."""
    for name in reversed(MASTER_FILES):
        (root / certificates.BELOW / name).unlink(missing_ok=True)
    _remove_parts(root)


async def held(parts: Parts, question: ReadMasterFiles) -> MasterFilesHeld:
    """What there is."""
    return await asyncio.to_thread(_held, parts.root)


async def write(parts: Parts, order: MasterFiles, task: Task) -> Nothing:
    """Have these files and no others; Rejected with nothing changed where a name is no such."""
    strange = {*order.files, *order.keep}.difference(MASTER_FILES)
    if strange:
        raise Rejected(f"{min(strange)!r} is not a file of a master", node=parts.node)
    try:
        await asyncio.to_thread(_write, parts.root, order)
    except OSError as error:
        raise OperationFailed(
            f"the files of a master cannot be kept on node {parts.node}: "
            f"{error.filename or ''}: {error.strerror}",
            f"see to {parts.root / certificates.BELOW} there; the master sends them again",
            reason=Reason.ENVIRONMENT,
            node=parts.node,
        ) from error
    succession.wake(parts.root)
    return Nothing()


def _held(root: Path) -> MasterFilesHeld:
    api = certificates.certificate(root, certificates.API)
    try:
        text = api.read_text()
    except OSError:
        text = ""
    return MasterFilesHeld(digests=digests(root), api=text)


def _write(root: Path, order: MasterFiles) -> None:
    base = root / certificates.BELOW
    new = [name for name in MASTER_FILES if name in order.files]
    parts = [certificates.prepare(base / name, order.files[name]) for name in new]
    for part, name in zip(parts, new, strict=True):
        part.replace(base / name)
    _remove_parts(root)
    wanted = {*order.files, *order.keep}
    for name in reversed(certificates.of_master(root)):
        if name not in wanted:
            (base / name).unlink(missing_ok=True)
    for directory in {(base / name).parent for name in MASTER_FILES}:
        if directory.is_dir():
            _sync(directory)


def _remove_parts(root: Path) -> None:
    """What an agent left that was killed in the middle: keys as well."""
    for name in MASTER_FILES:
        certificates.part(root / certificates.BELOW / name).unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
