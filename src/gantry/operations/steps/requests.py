"""Disks and names of an instance to be made, from what the user asked for."""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.model import names, sizes
from gantry.model.entities import Cluster, Disk, DiskFormat, DiskMode, DiskTemplate, OnDegraded
from gantry.model.errors import Reason, Rejected
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given

MAX_DISKS: Final = 16
_FAST: Final = 1 << 20
"""MiB a second that nothing reaches."""


class DiskRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """``--disk`` as it comes; a size is MiB, or text such as ``10G``."""

    size: int | str
    mode: str = "rw"
    name: str | None = None
    format: str = "raw"
    on_degraded: str | None = None
    """``wait`` or ``continue``; of mirrored disks alone."""
    resync_rate: int | str | None = None
    """MiB a second that a copy to a replica takes at most; of mirrored disks alone."""


def disk(
    request: DiskRequest,
    index: int,
    template: DiskTemplate,
    directory: str,
    driver: str,
    given: Given,
) -> Disk:
    """One new disk below ``directory``, or Rejected."""
    size = sizes.parse(str(request.size), f"the size of disk {index}")
    try:
        mode, kind = DiskMode(request.mode), DiskFormat(request.format)
    except ValueError as error:
        raise Rejected(
            f"disk {index}: {error}", "mode is rw or ro, format is raw or qcow2"
        ) from None
    if template is DiskTemplate.MIRROR and kind is not DiskFormat.RAW:
        raise Rejected(f"disk {index}: a mirrored disk is raw, not {kind}", "leave format= out")
    uuid = given.uuid()
    return Disk(
        uuid=uuid,
        size=size,
        template=template,
        path=f"{directory}/{uuid}.{template}.disk{index}",
        name=names.plain(request.name, "a disk") if request.name else None,
        mode=mode,
        format=kind,
        driver=driver,
        generation=1 if template is DiskTemplate.MIRROR else 0,
        on_degraded=_on_degraded(request.on_degraded, index, template),
        resync_rate=_resync_rate(request.resync_rate, index, template),
    )


def of_mirrored(
    disk: Disk, index: int, on_degraded: str | None, resync_rate: int | str | None
) -> Disk:
    """With another choice where one is given; Rejected where it is none, or not of this disk."""
    if on_degraded is not None:
        degraded = _on_degraded(on_degraded, index, disk.template)
        disk = msgspec.structs.replace(disk, on_degraded=degraded)
    if resync_rate is not None:
        rate = _resync_rate(resync_rate, index, disk.template)
        disk = msgspec.structs.replace(disk, resync_rate=rate)
    return disk


def _resync_rate(given: int | str | None, index: int, template: DiskTemplate) -> int:
    if given is None:
        return 0
    if template is not DiskTemplate.MIRROR:
        raise Rejected(f"disk {index}: resync_rate is of mirrored disks alone")
    if (
        not (isinstance(given, int) or (given.isascii() and given.isdigit()))
        or not 0 <= int(given) <= _FAST
    ):
        raise Rejected(f"disk {index}: resync_rate is MiB a second, not {given!r}", "0: no limit")
    return int(given)


def _on_degraded(text: str | None, index: int, template: DiskTemplate) -> OnDegraded:
    if text is not None and template is not DiskTemplate.MIRROR:
        raise Rejected(f"disk {index}: on_degraded is of mirrored disks alone")
    try:
        return OnDegraded(text or "wait")
    except ValueError:
        raise Rejected(f"disk {index}: on_degraded is wait or continue, not {text!r}") from None


def directory(cluster: Cluster, template: DiskTemplate, instance: str, below: str | None) -> str:
    """Where the instance's files go: the template's directory, ``below``, the name."""
    base = (
        cluster.shared_file_storage_dir
        if template is DiskTemplate.SHAREDFILE
        else cluster.file_storage_dir
    )
    if not base:
        raise Rejected(
            f"the cluster has no directory for disk template {template}",
            "set one with gnt-cluster modify --file-storage-dir",
            reason=Reason.STATE,
        )
    middle = f"/{names.plain(below, 'a directory')}" if below else ""
    return f"{base}{middle}/{instance}"


def template(text: str | None, cluster: Cluster) -> DiskTemplate:
    """The disk template, the cluster's first where none is given; or Rejected."""
    enabled = ", ".join(cluster.enabled_disk_templates)
    try:
        wanted = DiskTemplate(text) if text else cluster.enabled_disk_templates[0]
    except ValueError:
        raise Rejected(f"there is no disk template {text!r}", f"enabled are {enabled}") from None
    if wanted not in cluster.enabled_disk_templates:
        raise Rejected(
            f"disk template {wanted} is not enabled",
            f"enabled are {enabled}; change it with gnt-cluster modify --enabled-disk-templates",
        )
    return wanted


def count_fits(template: DiskTemplate, count: int) -> None:
    """The number of disks goes with the template, or Rejected."""
    if template is DiskTemplate.DISKLESS and count:
        raise Rejected(
            "a diskless instance has no disks", "leave -s and --disk out, or use -t file"
        )
    if template is not DiskTemplate.DISKLESS and not count:
        raise Rejected("the size of the disk is missing", "such as -s 10G, or -t diskless")
    if count > MAX_DISKS:
        raise Rejected(f"an instance has at most {MAX_DISKS} disks, not {count}")


def new_name(text: str, cluster: Snapshot) -> str:
    """The name of an instance to be made: valid, and nobody's; or Rejected."""
    name = names.host_name(text, "the name of an instance")
    if name in cluster.instance_names:
        raise Rejected(f"instance {name} exists already", reason=Reason.EXISTS, object_name=name)
    if name in cluster.node_names or name == cluster.cluster.name:
        raise Rejected(f"{name} is the name of a node or of the cluster", reason=Reason.NOT_UNIQUE)
    return name
