"""Images of disks that a node reads: a file of its own, or one from a URL, which it then keeps."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import disk_use, image_fetch
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.agent.programs import Programs
from gantry.host import command
from gantry.host.command import CommandFailed
from gantry.host.limits import Limits
from gantry.model import timeouts
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.image_location import is_url, largest, shown
from gantry.model.image_orders import ImageFacts, ImageWrite, ReadImage
from gantry.model.orders import Nothing
from gantry.storage import qcow2_header
from gantry.storage.qcow2_header import MOST

_NUMBER: Final = 3
_SOURCE: Final = f"/dev/fd/{_NUMBER}"
"""An open image as qemu-img has it."""
_INFO: Final = Limits(memory=1 << 30, processor=30)
"""What looking at an image may take: it was made by whomever."""


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
    # Open from here on: whoever may change its name, or a link, cannot put another file there.
    with _opened(parts, image.path, order.image) as file:
        image = await _looked_at(parts, file, image.path, order.image)
        _must_fit(parts, image, order)
        with disk_use.by_script(parts, order.instance, order.name, "image"):
            await disk_use.unattached(parts, [disk], order.name)
            async with disk_use.written(parts, [disk]):
                await _converted(parts, image, file, order, programs, task.envelope.timeout)
    return Nothing()


async def _converted(
    parts: Parts, image: Image, file: int, order: ImageWrite, programs: Programs, timeout: float
) -> None:
    before, disk = _stamp(file), order.disk
    target = parts.storage(disk).real_path(disk)
    argv = ["qemu-img", "convert", "-n", "-f", image.format.value, "-O", disk.format.value]
    try:
        await programs.run([*argv, _SOURCE, str(target)], timeout=timeout, passed={_NUMBER: file})
    except CommandFailed as error:
        raise _failed(
            parts,
            order,
            f"cannot be written to the disk of {order.name}: "
            + error.message.replace(_SOURCE, str(image.path)),
            "see whether the image is whole and nobody writes to it, and whether the node's disk "
            "is full",
            Reason.ENVIRONMENT,
        ) from error
    if _stamp(file) != before:
        raise _failed(
            parts,
            order,
            f"was changed on node {parts.node} while it was written to the disk of {order.name}",
            "try again when nobody changes it",
            Reason.STATE,
        )


def _failed(
    parts: Parts, order: ImageWrite, what: str, hint: str, reason: Reason
) -> OperationFailed:
    return OperationFailed(
        f"the image {shown(order.image)} {what}",
        hint,
        reason=reason,
        node=parts.node,
        object_name=order.name,
    )


def _stamp(file: int) -> tuple[int, int]:
    """Differs where somebody has written to it meanwhile. A newer one in its place is no matter."""
    found = os.fstat(file)
    return (found.st_size, found.st_mtime_ns)


def _must_fit(parts: Parts, image: Image, order: ImageWrite) -> None:
    if image.size > order.disk.size << 20:
        raise _failed(
            parts,
            order,
            f"needs {image.size} bytes, the disk of {order.name} has {order.disk.size} MiB",
            "make the disk larger",
            Reason.INPUT,
        )


async def _run(
    argv: list[str], *, timeout: float, stdin: bytes, limits: Limits
) -> command.Completed:
    """For a question, whose programs nobody notes down: they end by themselves soon."""
    return await command.run(
        argv, timeout=timeout, stdin=stdin, check=False, on_started=limits.impose
    )


async def _described(parts: Parts, path: Path, location: str) -> Image:
    with _opened(parts, path, location) as file:
        return await _looked_at(parts, file, path, location)


@contextlib.contextmanager
def _opened(parts: Parts, path: Path, location: str) -> Iterator[int]:
    """A descriptor of it. Rejected where it is no regular file, which is not even opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(0, "it is no regular file")
        # Should it be a pipe by now, nobody waits for its other end.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unusable(
            parts,
            f"the image {shown(location)} cannot be read on node {parts.node}: {error.strerror}",
            "it must be a file that is on every node, or a URL",
        ) from error
    try:
        yield file
    finally:
        os.close(file)


async def _looked_at(parts: Parts, file: int, path: Path, location: str) -> Image:
    """What it is, of its header and of qemu-img, which does not see one that names other files."""
    location = shown(location)
    header = qcow2_header.look(location, await asyncio.to_thread(os.pread, file, MOST, 0))
    if header is None:
        return Image(path=path, format=DiskFormat.RAW, size=os.fstat(file).st_size)
    argv = ["qemu-img", "info", "--output=json", "-U", "-f", DiskFormat.QCOW2.value, _SOURCE]
    try:
        done = await command.run(
            argv, timeout=timeouts.FAST, passed={_NUMBER: file}, on_started=_INFO.impose
        )
    except CommandFailed as error:
        raise _unusable(
            parts,
            f"the image {location} on node {parts.node} is no sound qcow2 image: "
            + error.message.replace(_SOURCE, str(path)),
            "copy or build it again; qemu-img check says more",
        ) from error
    size = int(json.loads(done.stdout)["virtual-size"])
    return Image(path=path, format=DiskFormat.QCOW2, size=size)


def _unusable(parts: Parts, message: str, hint: str) -> Rejected:
    return Rejected(message, hint, reason=Reason.ENVIRONMENT, node=parts.node)
