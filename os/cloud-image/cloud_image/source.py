"""The image: a file on the node, or fetched once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO

from guest import programs
from guest.inputs import Fault, say
from guest.keep import Keep

from cloud_image.parameters import Settings, is_url

_CHUNK = 1 << 20
_QCOW2 = b"QFI\xfb"
_EXTERNAL_DATA = 4
_CONVERT_SECONDS = 3600.0
_PROGRESS_SECONDS = 5.0
_CONTAINERS = {
    b"KDMV": "a VMDK image",
    b"vhdxfile": "a VHDX image",
    b"\x1f\x8b": "compressed by gzip",
    b"\xfd7zXZ\0": "compressed by xz",
    b"(\xb5/\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"PK\x03\x04": "a ZIP archive",
}


@contextlib.contextmanager
def raw_image(image: str, checksum: str, settings: Settings) -> Iterator[int]:
    """A descriptor of the image as a raw file. Fault where there is none, or it cannot be used.

    The descriptor stays good should the image be removed from where it is kept meanwhile.
    """
    if not image:
        raise Fault("parameter image: missing; give a path on the node, or a URL with its checksum")
    checksum = checksum.lower()
    if is_url(image):
        descriptor = _fetched(image, checksum, settings)
    else:
        descriptor = _local(image, checksum, settings)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_qcow2(descriptor: int) -> bool:
    """Whether it is qcow2, and alone: Fault where it would make QEMU read other files too."""
    head = os.pread(descriptor, 104, 0)
    if head[:4] != _QCOW2:
        for mark, what in _CONTAINERS.items():
            if head.startswith(mark):
                raise Fault(f"the image is {what}: convert it to raw or qcow2 first")
        return False
    version, backing = struct.unpack_from(">IQ", head, 4)
    features = struct.unpack_from(">Q", head, 72)[0] if version >= 3 and len(head) >= 80 else 0
    if version not in (2, 3):
        raise Fault(f"the image is qcow2 of version {version}, which is not known")
    if backing or features & _EXTERNAL_DATA:
        raise Fault(
            "the image needs another file (backing or data file): flatten it with "
            "'qemu-img convert -O qcow2'"
        )
    return True


def _local(path: str, checksum: str, settings: Settings) -> int:
    real = os.path.realpath(path)
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Fault(f"parameter image: {path}: {error.strerror}, on this node") from None
    try:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()) != real:
            raise Fault(f"parameter image: {path} was exchanged meanwhile")
        _check_allowed(real, descriptor, settings)
        if checksum:
            say(f"checking {path}")
            with open(descriptor, "rb", closefd=False) as stream:
                _check_sum(_sum_of(stream, checksum), checksum, path)
        if not is_qcow2(descriptor):
            return os.dup(descriptor)
        return _unpacked(descriptor, settings)
    finally:
        os.close(descriptor)


def _check_allowed(real: str, descriptor: int, settings: Settings) -> None:
    """A file that not every user may read is no image, unless it is where images are.

    Otherwise whoever may create instances could read every file of the node.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Fault(f"parameter image: {real} is not a regular file")
    if status.st_size == 0:
        raise Fault(f"parameter image: {real} is empty")
    places = [os.path.realpath(place) for place in settings.images if place.startswith("/")]
    if any(os.path.commonpath([real, place]) == place for place in places):
        return
    open_to_all = all(parent.stat().st_mode & 0o001 for parent in Path(real).parents)
    if not (open_to_all and status.st_mode & 0o004):
        raise Fault(
            f"parameter image: {real} may not be read by every user of the node: put it into "
            f"{settings.images[0] if settings.images else 'a directory of the setting IMAGES'}, or "
            "give everybody the right to read it"
        )


def _unpacked(descriptor: int, settings: Settings) -> int:
    """A qcow2 file of this node as raw, kept as long as the file does not change."""
    status = os.fstat(descriptor)
    told = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    key = hashlib.sha256(repr(told).encode()).hexdigest()
    keep = Keep(settings.cache, settings.cache_bytes)
    with keep.locked(key) as work:
        if not keep.path(key).exists():
            keep.take_in(_convert(descriptor, work), key)
        return _open_kept(keep, key)


def _fetched(url: str, checksum: str, settings: Settings) -> int:
    keep = Keep(settings.cache, settings.cache_bytes)
    with keep.locked(checksum) as work:
        if not keep.path(checksum).exists():
            fetched = work / "fetched"
            _fetch(url, checksum, fetched, settings)
            descriptor = os.open(fetched, os.O_RDONLY | os.O_CLOEXEC)
            try:
                made = _convert(descriptor, work) if is_qcow2(descriptor) else fetched
            finally:
                os.close(descriptor)
            keep.take_in(made, checksum)
        return _open_kept(keep, checksum)


def _open_kept(keep: Keep, key: str) -> int:
    keep.used(key)
    return os.open(keep.path(key), os.O_RDONLY | os.O_CLOEXEC)


def _convert(descriptor: int, work: Path) -> Path:
    programs.require(qemu_img="qemu-utils")
    made = work / "converted"
    say("converting the image from qcow2")
    # Whatever its header says by now, no other file is read as its backing file.
    file = {"driver": "file", "filename": f"/proc/self/fd/{descriptor}"}
    image = "json:" + json.dumps({"driver": "qcow2", "backing": None, "file": file})
    argv = ["qemu-img", "convert", "-O", "raw", image, str(made)]
    programs.run(argv, timeout=_CONVERT_SECONDS, pass_fds=(descriptor,))
    return made


def _sum_of(stream: IO[bytes], checksum: str) -> str:
    digest = _digest_for(checksum)
    while data := stream.read(_CHUNK):
        digest.update(data)
    return digest.hexdigest()


def _digest_for(checksum: str) -> hashlib._Hash:
    return hashlib.sha256() if len(checksum) == 64 else hashlib.sha512()


def _check_sum(found: str, checksum: str, where: str) -> None:
    if found != checksum:
        raise Fault(
            f"{where} is not the image that was meant: its checksum is {found}, "
            f"not {checksum} as the parameter checksum says"
        )


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows a server to http and https alone."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            raise Fault(f"the server sends elsewhere, to {newurl[:200]!r}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, checksum: str, target: Path, settings: Settings) -> None:
    """Fault unless it comes whole and has the checksum. What follows a ? may be secret."""
    shown = url.partition("?")[0]
    proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else {}
    opener = urllib.request.build_opener(_WebOnly, urllib.request.ProxyHandler(proxies))
    # That it is a URL of http or https has been checked.
    request = urllib.request.Request(url, headers={"User-Agent": "gantry"})  # noqa: S310
    say(f"fetching {shown}")
    try:
        with (
            opener.open(request, timeout=settings.fetch_timeout) as answer,
            target.open("wb") as file,
        ):
            length = answer.headers.get("Content-Length", "")
            expected = int(length) if length.isdigit() else 0
            found = _receive(answer, file, checksum, expected, settings.cache_bytes)
            if expected and file.tell() != expected:
                raise Fault(f"{shown} broke off after {file.tell()} of {expected} bytes: try again")
    except urllib.error.HTTPError as error:
        raise Fault(f"{shown}: the server answers {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Fault(f"{shown} cannot be fetched: {reason}") from None
    _check_sum(found, checksum, shown)


def _receive(answer: IO[bytes], file: IO[bytes], checksum: str, expected: int, most: int) -> str:
    """The checksum of what came."""
    digest = _digest_for(checksum)
    told, done = time.monotonic(), 0
    if expected > most:
        raise Fault(f"the image has {expected >> 20} MiB, more than CACHE_MIB allows")
    while data := answer.read(_CHUNK):
        digest.update(data)
        file.write(data)
        done += len(data)
        if done > most:
            raise Fault(f"the image has more than {most >> 20} MiB, which CACHE_MIB allows")
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"fetched {done >> 20}{f' of {expected >> 20}' if expected else ''} MiB")
    return digest.hexdigest()
