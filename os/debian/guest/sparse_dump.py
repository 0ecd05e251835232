"""A disk as a stream without its holes: a tar archive with one sparse file, ``disk.raw``.

The format is that of GNU tar (PAX, sparse version 1.0), so that ``tar -xf`` takes a dump apart
by hand. Of a file the holes are left out, of a block device the blocks of zeros. ``load`` also
takes a plain stream of a disk's bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

CHUNK = 1 << 20
_BLOCK = 512
_RECORD = 20 * _BLOCK
_MOST_EXTENTS = 1 << 20
_LONGEST_HEADER = 1 << 16
_BLKGETSIZE64 = 0x80081272
_BLKZEROOUT = 0x127F
_ZEROS = bytes(CHUNK)

Extent = tuple[int, int]
"""First byte and number of bytes."""


class DumpError(Exception):
    """What is wrong with a dump or a disk, and what to do."""


def disk_bytes(descriptor: int) -> int:
    """The size of a file or block device."""
    if stat.S_ISBLK(os.fstat(descriptor).st_mode):
        answer = fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8))
        return int(struct.unpack("Q", answer)[0])
    return os.fstat(descriptor).st_size


def extents(descriptor: int, size: int) -> list[Extent]:
    """Where there is data in the first ``size`` bytes, in order."""
    block_device = stat.S_ISBLK(os.fstat(descriptor).st_mode)
    found = _not_zero(descriptor, size) if block_device else _not_holes(descriptor, size)
    return list(found)


def fewer(found: list[Extent], most: int) -> list[Extent]:
    """At most so many pieces, as ``load`` takes: the smallest holes count as data."""
    least = _BLOCK
    while len(found) > most:
        least *= 2
        joined: list[Extent] = []
        for start, length in found:
            if joined and start - sum(joined[-1]) < least:
                joined[-1] = (joined[-1][0], start + length - joined[-1][0])
            else:
                joined.append((start, length))
        found = joined
    return found


def _not_holes(descriptor: int, size: int) -> Iterator[Extent]:
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start >= size:
            return
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        yield start, end - start


def _not_zero(descriptor: int, size: int) -> Iterator[Extent]:
    start, end = 0, 0
    for offset in range(0, size, CHUNK):
        data = os.pread(descriptor, min(CHUNK, size - offset), offset)
        if data == _ZEROS[: len(data)]:
            continue
        if offset > end and end > start:
            yield start, end - start
        if offset > end or end == 0:
            start = offset
        end = offset + len(data)
    if end > start:
        yield start, end - start


class Dump:
    """A disk that is to be written to a stream; its size is known before."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._extents = fewer(extents(descriptor, size), _MOST_EXTENTS - 1)
        data = sum(length for _, length in self._extents)
        self._header = _headers(size, data, self._extents)
        used = len(self._header) + data + 2 * _BLOCK
        self._padding = -(len(self._header) + data) % _BLOCK
        self._end = 2 * _BLOCK + -(used + self._padding) % _RECORD
        self.data = data
        self.bytes = len(self._header) + data + self._padding + self._end

    def write(self, stream: int) -> None:
        """All of it; DumpError where the disk became shorter."""
        _write(stream, self._header)
        for start, length in self._extents:
            _send(stream, self._descriptor, start, length)
        _write(stream, bytes(self._padding + self._end))


def _write(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]


def _send(stream: int, source: int, start: int, length: int) -> None:
    """Bytes from a disk to the stream, without a way through this process where the kernel can."""
    while length:
        try:
            sent = os.sendfile(stream, source, start, min(length, 64 * CHUNK))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            data = os.pread(source, min(length, CHUNK), start)
            _write(stream, data)
            sent = len(data)
        if sent == 0:
            raise DumpError(f"the disk ends at byte {start}: it became smaller meanwhile")
        start += sent
        length -= sent


def _record(key: str, value: str) -> bytes:
    """One record of an extended header; its length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return f"{length} {key}={value}\n".encode()


def _headers(size: int, data: int, found: list[Extent]) -> bytes:
    # An empty piece at the end is what GNU tar makes the file as long as the disk by.
    pieces = [*found, (size, 0)]
    table = "".join(f"{number}\n" for piece in pieces for number in piece)
    table_bytes = _padded(f"{len(pieces)}\n{table}".encode())
    records = (
        _record("GNU.sparse.major", "1")
        + _record("GNU.sparse.minor", "0")
        + _record("GNU.sparse.name", "disk.raw")
        + _record("GNU.sparse.realsize", str(size))
    )
    records += _record("size", str(len(table_bytes) + data))
    extended = _header("./PaxHeaders/disk.raw", len(records), b"x") + _padded(records)
    entry = _header("./GNUSparseFile.0/disk.raw", len(table_bytes) + data, b"0")
    return extended + entry + table_bytes


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _header(name: str, size: int, kind: bytes) -> bytes:
    # Sizes of 8 GiB and more stand in the extended header alone.
    shown = size if size < 8**11 else 0
    text = name.encode().ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2
    text += b"%011o\0" % shown + b"00000000000\0" + b" " * 8 + kind
    text = (text.ljust(257, b"\0") + b"ustar\x0000").ljust(_BLOCK, b"\0")
    return text[:148] + b"%06o\0 " % sum(text) + text[156:]


def load(stream: BinaryIO, descriptor: int) -> int:
    """Put a dump on a disk; the number of bytes of the disk that was dumped.

    Where the dump has holes, zeros are read afterwards. DumpError where it is empty, cut
    off, damaged or larger than the disk.
    """
    size = disk_bytes(descriptor)
    first = stream.read(_BLOCK)
    if not first:
        raise DumpError("the dump is empty: nothing was imported")
    if first[257:262] == b"ustar" and first[156:157] == b"x":
        taken = _load_sparse(stream, first, descriptor, size)
    else:
        taken = _load_plain(stream, first, descriptor, size)
    os.fsync(descriptor)
    return taken


def _too_large(size: int) -> DumpError:
    mebibytes = size >> 20
    return DumpError(
        f"the dump is larger than the disk, which has {mebibytes} MiB: give it a larger disk"
    )


def _load_plain(stream: BinaryIO, first: bytes, descriptor: int, size: int) -> int:
    holes = not stat.S_ISBLK(os.fstat(descriptor).st_mode)
    if holes:
        clear(descriptor, 0)
    offset = 0
    data = first + stream.read(CHUNK - len(first))
    while data:
        if offset + len(data) > size:
            raise _too_large(size)
        if not holes or data != _ZEROS[: len(data)]:
            _put(descriptor, data, offset)
        offset += len(data)
        data = stream.read(CHUNK)
    return offset


def _load_sparse(stream: BinaryIO, first: bytes, descriptor: int, size: int) -> int:
    records = _records(_exactly(stream, _padded_size(_octal(first[124:136]))))
    if records.get("GNU.sparse.major") != "1" or records.get("GNU.sparse.minor") != "0":
        raise DumpError("the dump is an archive, but not of a disk")
    whole = _number(records.get("GNU.sparse.realsize", ""))
    if whole > size:
        raise _too_large(size)
    _exactly(stream, _BLOCK)
    table = _table(stream, whole)
    clear(descriptor, whole)
    for start, length in table:
        _copy(stream, descriptor, start, length)
    stored = sum(length for _, length in table)
    _exactly(stream, -stored % _BLOCK)
    if any(_exactly(stream, 2 * _BLOCK)):
        raise DumpError("the dump is damaged: something follows the disk in it")
    while stream.read(CHUNK):
        pass
    return whole


def _exactly(stream: BinaryIO, length: int) -> bytes:
    if length > _LONGEST_HEADER:
        raise DumpError("the dump is damaged: its header is too long")
    data = stream.read(length)
    if len(data) != length:
        raise DumpError("the dump is cut off: it ended too early")
    return data


def _padded_size(size: int) -> int:
    return size + -size % _BLOCK


def _octal(field: bytes) -> int:
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        raise DumpError("the dump is damaged: its header cannot be read") from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise DumpError("the dump is damaged: its header cannot be read")
    return int(text)


def _records(data: bytes) -> dict[str, str]:
    found = {}
    for line in data.rstrip(b"\0").decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")[2].partition("=")
        found[key] = value
    return found


def _table(stream: BinaryIO, whole: int) -> list[Extent]:
    numbers = _numbers(stream)
    count = next(numbers)
    if count > _MOST_EXTENTS:
        raise DumpError(f"the dump has {count} pieces, which is too many")
    table, end = [], 0
    for _ in range(count):
        start, length = next(numbers), next(numbers)
        if start < end or start + length > whole:
            raise DumpError("the dump is damaged: its pieces overlap, or are beyond the disk")
        end = start + length
        table.append((start, length))
    return table


def _numbers(stream: BinaryIO) -> Iterator[int]:
    """The numbers of the table, read block by block; what pads its last block is left out."""
    rest = b""
    while True:
        *lines, rest = (rest + _exactly(stream, _BLOCK)).split(b"\n")
        for line in lines:
            yield _number(line.decode("ascii", "replace"))


def _copy(stream: BinaryIO, descriptor: int, start: int, length: int) -> None:
    while length:
        data = stream.read(min(length, CHUNK))
        if not data:
            raise DumpError(f"the dump is cut off: {length} bytes of a piece are missing")
        _put(descriptor, data, start)
        start += len(data)
        length -= len(data)


def _put(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def clear(descriptor: int, used: int) -> None:
    """Make the first ``used`` bytes read as zeros; of a file all, by a hole.

    Of a block device the last MiB too, where partition tables have copies. The rest of it stays:
    filling a large one would take hours.
    """
    size = disk_bytes(descriptor)
    if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
        os.ftruncate(descriptor, 0)
        os.ftruncate(descriptor, size)
        return
    used = min(used + -used % _BLOCK, size)
    last = max(used, size - CHUNK)
    for start, length in ((0, used), (last, size - last)):
        _zero(descriptor, start, length)


def _zero(descriptor: int, start: int, length: int) -> None:
    if not length:
        return
    try:
        fcntl.ioctl(descriptor, _BLKZEROOUT, struct.pack("QQ", start, length))
    except OSError:
        for offset in range(start, start + length, CHUNK):
            _put(descriptor, _ZEROS[: min(CHUNK, start + length - offset)], offset)


def tell_size(size: int) -> str:
    """Tell the size of the stream to whoever listens on EXP_SIZE_FD; what is wrong, or nothing."""
    number = os.environ.get("EXP_SIZE_FD", "")
    if not number:
        return ""
    if not (number.isascii() and number.isdigit() and len(number) < 7):
        raise DumpError(f"EXP_SIZE_FD {number[:40]!r} is not the number of a file descriptor")
    try:
        os.write(int(number), b"%d\n" % size)
    except OSError:
        return f"EXP_SIZE_FD {number} is not open: nobody will know the size of the dump"
    return ""


def export_disk(path: str, most: int, say: Callable[[str], None]) -> None:
    """Write the first ``most`` bytes of a disk (0: all) to standard output, and their size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    size = disk_bytes(descriptor)
    dump = Dump(descriptor, min(size, most) if most else size)
    fault = tell_size(dump.bytes)
    if fault:
        say(fault)
    say(f"exporting {path}: {dump.data >> 20} MiB of data in {size >> 20} MiB")
    dump.write(sys.stdout.fileno())


def import_disk(path: str, say: Callable[[str], None]) -> int:
    """Fill a disk from standard input; the number of bytes of the disk that was dumped."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    size = disk_bytes(descriptor)
    say(f"importing to {path}, which has {size >> 20} MiB")
    return load(sys.stdin.buffer, descriptor)


def main(name: str, action: str, path: str, most: str = "0") -> int:
    """``NAME export DISK [BYTES]`` or ``NAME import DISK``; NAME is what messages begin with."""

    def say(text: str) -> None:
        sys.stderr.write(f"{name}: {text}\n")

    try:
        if action == "export":
            export_disk(path, int(most), say)
        else:
            sys.stdout.write(f"{import_disk(path, say)}\n")
    except DumpError as error:
        say(f"{path}: {error}")
        return 1
    except OSError as error:
        say(f"{path}: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
