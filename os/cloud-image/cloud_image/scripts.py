"""What each script of the definition does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from guest import copying
from guest.inputs import Fault, complain, disk, first_disk, instance_name, say, variable
from guest.sparse_dump import DumpError, export_disk, import_disk

from cloud_image import place, seed
from cloud_image.parameters import check_parameters, node_settings
from cloud_image.source import raw_image


def create() -> None:
    """The image on the first disk, its table as large as the disk, and the seed."""
    check_parameters()
    target = os.open(first_disk(), os.O_RDWR | os.O_CLOEXEC)
    # Whatever is wrong with a name or an address is said before anything is written.
    files = seed.files()
    with raw_image(variable("OSP_IMAGE"), variable("OSP_CHECKSUM"), node_settings()) as source:
        where = place.wanted(variable("OSP_SEED"), source, target)
        say(f"copying the image to {variable('DISK_0_PATH')}")
        copying.copy(source, target)
    place.spread(target)
    if where == "partition":
        place.add_partition(target, files)
    os.fsync(target)
    if where == "disk":
        place.fill_last_disk(files)
    say(f"installed as {instance_name()}")


def verify() -> None:
    """Whether the parameters are right; all faults at once."""
    if sys.argv[1:] != ["parameters"]:
        asked = " ".join(sys.argv[1:])
        raise Fault(f"cannot verify {asked!r}: the only check is 'parameters'")
    check_parameters()
    node_settings()
    say("the parameters are right")


def rename() -> None:
    """A new seed in the old one's place: for cloud-init the guest is new at its next boot."""
    check_parameters()
    target = os.open(first_disk(), os.O_RDWR | os.O_CLOEXEC)
    place.spread(target)
    if place.renew(target, seed.files()):
        say(f"the guest is called {instance_name()} from its next boot on")
    else:
        say("there is no seed for cloud-init on the disks: the guest keeps its name")
    os.fsync(target)


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
