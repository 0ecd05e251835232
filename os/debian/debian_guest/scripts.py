"""What each script of the definition does."""

from __future__ import annotations

import os
import struct
import sys
import uuid
from collections.abc import Callable

from guest import copying, tables
from guest.inputs import Fault, complain, disk, first_disk, instance_name, say, variable
from guest.sparse_dump import DumpError, disk_bytes, export_disk, import_disk

from debian_guest import build, personal
from debian_guest.parameters import check_parameters, node_settings, root_mebibytes
from debian_guest.root_files import RootFiles

_LARGEST = 0xFFFFFFFF


def create() -> None:
    """A system from what is kept, or built; then what makes it this guest."""
    check_parameters()
    path = first_disk()
    # Whatever is wrong with a name or an address is said before anything is built or written.
    files = personal.name_and_network()
    target = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    _check_size(target)
    source = build.image(node_settings())
    say(f"copying the system to {path}")
    copying.copy(source, target)
    _partition(target)
    root = RootFiles(path, build.OFFSET)
    own = str(uuid.uuid4())
    root.renew_uuid(own)
    root.change({**files, **personal.mounts(own), **personal.access(root)}, [])
    os.fsync(target)
    say(f"installed {variable('OS_VARIANT')} as {instance_name()}")


def _check_size(target: int) -> None:
    mebibytes = disk_bytes(target) >> 20
    if root_mebibytes() + 1 > mebibytes:
        raise Fault(f"parameter root-size: the disk has {mebibytes} MiB, which is less")
    if mebibytes < 600:
        raise Fault(f"the disk has {mebibytes} MiB, this OS needs at least 600")


def _partition(target: int) -> None:
    """One partition, as large as is asked for, in a table with a signature of its own."""
    sectors = disk_bytes(target) // tables.SECTOR
    most = min(sectors, _LARGEST) - tables.ALIGNMENT
    length = min(root_mebibytes() * tables.ALIGNMENT, most) if root_mebibytes() else most
    code = os.pread(target, 440, 0)
    empty = code + os.urandom(4) + bytes(2) + bytes(64) + b"\x55\xaa"
    chs = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", 0x80, chs, 0x83, chs, tables.ALIGNMENT, length)
    tables.write(target, tables.Mbr(empty[:446] + entry + empty[462:]), sectors)


def verify() -> None:
    """Whether the parameters are right; all faults at once."""
    if sys.argv[1:] != ["parameters"]:
        asked = " ".join(sys.argv[1:])
        raise Fault(f"cannot verify {asked!r}: the only check is 'parameters'")
    check_parameters()
    node_settings()
    say("the parameters are right")


def rename() -> None:
    """Another name and the NICs as they are now; the root gets what a larger disk has."""
    path = first_disk()
    files = personal.name_and_network()
    target = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    first = _grow(target)
    root = RootFiles(path, first * tables.SECTOR)
    root.settle()
    root.change(files, personal.stale_network(root, files))
    os.fsync(target)
    say(f"renamed {variable('OLD_INSTANCE_NAME') or 'the guest'} to {instance_name()}")


def _grow(target: int) -> int:
    """Where the first partition begins; the only one is made as large as the disk."""
    sectors = disk_bytes(target) // tables.SECTOR
    table = tables.read(target, sectors)
    if not isinstance(table, tables.Mbr) or not table.partitions:
        raise Fault("there is no partition table on the disk: was this OS installed on it?")
    only = table.partitions[0]
    most = min(sectors, _LARGEST) - only.first
    if len(table.partitions) == 1 and only.slot == 0 and not root_mebibytes():
        length = struct.pack("<I", most)
        tables.write(target, tables.Mbr(table.sector[:458] + length + table.sector[462:]), sectors)
    return only.first


def export() -> None:
    """One disk, without its holes, to standard output."""
    _dump(lambda: export_disk(_disk_of("EXPORT"), 0, complain))


def import_() -> None:
    """One disk from standard input."""

    def work() -> None:
        taken = import_disk(_disk_of("IMPORT"), complain)
        say(f"imported {taken} bytes to {_disk_of('IMPORT')}")

    _dump(work)


def _disk_of(action: str) -> str:
    alias = f"{action}_DISK_PATH" if not variable(f"{action}_DEVICE") else f"{action}_DEVICE"
    return disk(alias)


def _dump(work: Callable[[], None]) -> None:
    try:
        work()
    except DumpError as error:
        raise Fault(str(error)) from None
