"""Images of disks that a node reads: a file of its own, or one from a URL, which it then keeps."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import disk_use, image_fetch
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.agent.programs import Programs
from gantry.host import command
from gantry.host.limits import Limits
from gantry.model import timeouts
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.image_location import is_url, largest, without_password
from gantry.model.image_orders import ImageFacts, ImageWrite, ReadImage
from gantry.model.orders import Nothing

_MAGIC: Final = b"QFI\xfb"


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A file on this node; ``size`` are the bytes that a disk needs to hold it."""

    path: Path
    format: DiskFormat
    size: int


async def local(parts: Parts, location: str, most: int, programs: Programs, task: Task) -> Image:
    """The image at ``location``, fetched where it is a URL. Rejected, OperationFailed.

    ``most``: bytes that one at a URL may have. One that has its data in other files is refused:
    it could name any file of the node.
    """
    path = Path(location)
    if is_url(location):

        async def look(coming: Path) -> object:
            return await _described(parts, coming, location)

        run = functools.partial(programs.run, check=False)
        fetcher = image_fetch.Fetcher(parts.root, parts.node, run)
        path = await fetcher.fetched(location, most, task.say, look)
    return await _described(parts, path, location)


async def look(parts: Parts, question: ReadImage) -> ImageFacts:
    """Whether it is there; of one at a URL, whether its server has it."""
    if not is_url(question.image):
        found = await _described(parts, Path(question.image), question.image)
        return ImageFacts(size=found.size)
    fetcher = image_fetch.Fetcher(parts.root, parts.node, _run)
    return ImageFacts(size=0, download=await fetcher.size(question.image))


async def write(parts: Parts, order: ImageWrite, task: Task) -> Nothing:
    """Write it to the beginning of a disk that nobody else works on."""
    disk, programs = order.disk, Programs(order, task)
    image = await local(parts, order.image, largest(disk.size), programs, task)
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


async def _run(
    argv: list[str], *, timeout: float, stdin: bytes, limits: Limits
) -> command.Completed:
    """For a question, whose programs nobody notes down: they end by themselves soon."""
    return await command.run(
        argv, timeout=timeout, stdin=stdin, check=False, on_started=limits.impose
    )


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
