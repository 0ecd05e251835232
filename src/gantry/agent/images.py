"""Images of disks that a node reads: a file of its own, or one from a URL, which it then keeps.

``curl`` fetches them, and asks whether there is a newer one where the node has one already.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.agent.programs import Programs
from gantry.host import command
from gantry.model import timeouts
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.image_location import is_url, without_password
from gantry.model.image_orders import ImageFacts, ImageWrite, ReadImage
from gantry.model.orders import Nothing

DIRECTORY: Final = "var/lib/gantry/images"
_CURL: Final = (
    *("curl", "--fail", "--location", "--silent", "--show-error", "--globoff"),
    *("--proto", "=http,https,ftp", "--connect-timeout", "30"),
    # A server that says nothing any more.
    *("--speed-limit", "1", "--speed-time", "60"),
    *("--config", "-"),
)
_MAGIC: Final = b"QFI\xfb"
_fetching: Final = WeakValueDictionary[str, asyncio.Lock]()
"""By the path of what is kept; those that are in use."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A file on this node; ``size`` are the bytes that a disk needs to hold it."""

    path: Path
    format: DiskFormat
    size: int


async def local(parts: Parts, location: str, programs: Programs, task: Task) -> Image:
    """The image at ``location``, fetched where it is a URL. Rejected, OperationFailed.

    One that has its data in other files is refused: it could name any file of the node.
    """
    path = Path(location)
    if is_url(location):
        path = await _fetched(parts, location, programs, task.say)
    return await _described(parts, path, location)


async def look(parts: Parts, question: ReadImage) -> ImageFacts:
    """Whether it is there; of one at a URL, whether its server has it."""
    if not is_url(question.image):
        found = await _described(parts, Path(question.image), question.image)
        return ImageFacts(size=found.size)
    argv = [*_CURL, "--head", "--output", "/dev/null", "--max-time", "60"]
    try:
        await command.run(argv, timeout=timeouts.NORMAL, stdin=_named(question.image))
    except OperationFailed as error:
        raise _unreachable(parts, question.image, error) from error
    return ImageFacts(size=0)


async def write(parts: Parts, order: ImageWrite, task: Task) -> Nothing:
    """Write it to the beginning of a disk that nobody else works on."""
    disk = order.disk
    programs = Programs(order, task)
    image = await local(parts, order.image, programs, task)
    if image.size > disk.size << 20:
        raise OperationFailed(
            f"the image {without_password(order.image)} needs {image.size} bytes, the disk of "
            f"{order.name} has {disk.size} MiB",
            "make the disk larger",
            reason=Reason.INPUT,
            node=parts.node,
            object_name=order.name,
        )
    with disk_use.by_script(parts, order.instance, order.name, "image"):
        await disk_use.unattached(parts, [disk], order.name)
        async with disk_use.written(parts, [disk]):
            target = parts.storage(disk).real_path(disk)
            argv = ["qemu-img", "convert", "-n", "-f", image.format.value]
            argv += ["-O", disk.format.value, str(image.path), str(target)]
            await programs.run(argv, timeout=task.envelope.timeout)
    return Nothing()


async def _described(parts: Parts, path: Path, location: str) -> Image:
    location = without_password(location)
    try:
        found = await asyncio.to_thread(_format, path)
    except OSError as error:
        raise Rejected(
            f"the image {location} cannot be read on node {parts.node}: {error.strerror}",
            "it must be a file that is on every node, or a URL",
            reason=Reason.ENVIRONMENT,
            node=parts.node,
        ) from error
    if found is DiskFormat.RAW:
        return Image(path=path, format=found, size=path.stat().st_size)
    argv = ["qemu-img", "info", "--output=json", "-U", "-f", found.value, str(path)]
    told = json.loads((await command.run(argv, timeout=timeouts.FAST)).stdout)
    data = told.get("format-specific", {}).get("data", {})
    if told.get("backing-filename") or data.get("data-file"):
        raise Rejected(
            f"the image {location} is not whole: it builds on another file",
            "make one of it: qemu-img convert -O qcow2 OLD NEW",
            node=parts.node,
        )
    return Image(path=path, format=found, size=int(told["virtual-size"]))


def _format(path: Path) -> DiskFormat:
    """By its first bytes; OSError where it is no regular file, which is not even opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is no regular file")
    # Should it be a pipe by now, nobody waits for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return DiskFormat.QCOW2 if file.read(len(_MAGIC)) == _MAGIC else DiskFormat.RAW


async def _fetched(parts: Parts, url: str, programs: Programs, say: Callable[[str], None]) -> Path:
    """What the node keeps of the URL, as new as the server's; one job at a time fetches it."""
    directory = parts.root / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = directory / hashlib.sha256(url.encode()).hexdigest()[:32]
    coming = kept.with_suffix(".new")
    async with _fetching.setdefault(str(kept), asyncio.Lock()):
        newer = ["--time-cond", str(kept)] if kept.exists() else []
        say(f"fetching {without_password(url)}...")
        argv = [*_CURL, "--remote-time", *newer, "--output", str(coming)]
        coming.unlink(missing_ok=True)
        try:
            await programs.run(argv, timeout=timeouts.IMAGE_FETCH, stdin=_named(url))
            # Where the server has nothing newer nothing was written, or an empty file.
            if coming.exists() and coming.stat().st_size:
                # What is kept was looked at: another job may read it before it looks itself.
                await _described(parts, coming, url)
                coming.replace(kept)
        except OperationFailed as error:
            raise _unreachable(parts, url, error) from error
        finally:
            coming.unlink(missing_ok=True)
    return kept


def _named(url: str) -> bytes:
    """The URL as curl reads it from its input: in its arguments anybody could see a password."""
    escaped = url.replace("\\", "\\\\").replace('"', '\\"')
    return f'url = "{escaped}"\n'.encode()


def _unreachable(parts: Parts, url: str, error: OperationFailed) -> OperationFailed:
    why = without_password(error.message)
    return OperationFailed(
        f"node {parts.node} cannot fetch {without_password(url)}: {why}",
        "see whether the URL is right, and whether the node reaches it",
        reason=Reason.ENVIRONMENT,
        node=parts.node,
    )
