"""Orders and questions about disks that exist: how large they are, and making them larger.

Sizes are MiB where nothing else is said. What is made and removed is in ``model.orders``.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model import timeouts
from gantry.model.asking import Nothing, Order, Question
from gantry.model.names import Uuid
from gantry.model.specs import DiskSpec


class DiskGrow(Order[Nothing], frozen=True, kw_only=True, tag="disk-grow"):
    """The disk has ``size`` afterwards; one that is as large or larger stays as it is.

    Where ``guest`` runs on the node, its hypervisor does it and tells the guest.
    """

    disk: DiskSpec
    size: int
    guest: Uuid
    hypervisor: str


class DiskPlug(Order[Nothing], frozen=True, kw_only=True, tag="disk-plug"):
    """A guest that runs has the disk from now on; one that has it already keeps it."""

    disk: DiskSpec
    guest: Uuid
    hypervisor: str


class DiskUnplug(Order[Nothing], frozen=True, kw_only=True, tag="disk-unplug"):
    """A guest that runs lets go of the disk; OperationFailed where it does not within ``timeout``.

    A guest that does not run, or that does not have it, has nothing to do. ``keep``: its
    hypervisor has the disk open still, and mirrors it; ``DiskPlug`` gives it back.
    """

    disk: DiskSpec
    guest: Uuid
    hypervisor: str
    timeout: float = timeouts.UNPLUG
    keep: bool = False


class DiskConvert(Order[Nothing], frozen=True, kw_only=True, tag="disk-convert"):
    """A disk of a guest that runs is of the template that ``disk`` has, in the same file.

    One that becomes mirrored is mirrored to nobody yet (``MirrorAttach``); one that becomes a
    file is mirrored no more, and writes that wait for a replica go on. A guest that does not run
    has nothing to do.
    """

    disk: DiskSpec
    guest: Uuid
    hypervisor: str


class DiskSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A disk as its node finds it.

    ``size`` is in bytes, as a guest sees it; None where the disk is not there, or is not what it
    should be: ``problem`` says why.
    """

    uuid: Uuid
    size: int | None = None
    problem: str = ""


class DisksSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One for each that was asked about, in their order."""

    disks: tuple[DiskSeen, ...]


class ReadDisks(Question[DisksSeen], frozen=True, kw_only=True, tag="disks"):
    """Look at disks, without changing anything."""

    answer: ClassVar[type[msgspec.Struct]] = DisksSeen
    disks: tuple[DiskSpec, ...]
