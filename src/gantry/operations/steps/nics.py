"""NICs as users ask for them, and what becomes of them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gantry.model import names
from gantry.model.entities import Nic, NicMode
from gantry.model.errors import Rejected
from gantry.model.parameters import NIC, fill
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given
from gantry.operations.steps import allocation

MAX_NICS: Final = 8
_LINK: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")
_SUPPORTED: Final = (NicMode.BRIDGED, NicMode.USER)


class NicRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """``--net`` as it comes: all is optional; ``none`` takes an address or a name away."""

    ip: str | None = None
    mac: str | None = None
    mode: str | None = None
    link: str | None = None
    bridge: str | None = None
    vlan: str | None = None
    name: str | None = None


def make(
    request: NicRequest, cluster: Snapshot, given: Given, taken: set[str], conflicts: bool
) -> Nic:
    """A new NIC; its MAC is added to ``taken``. Rejected where something does not fit."""
    nic = apply(
        request,
        Nic(uuid=given.uuid(), mac="", mode=_default_mode(cluster), link=_default_link(cluster)),
        cluster,
        conflicts,
    )
    if not nic.mac:
        nic = msgspec.structs.replace(nic, mac=allocation.new_mac(cluster, given, taken))
    elif nic.mac in taken:
        raise Rejected(f"MAC address {nic.mac} is given twice")
    taken.add(nic.mac)
    return nic


def apply(
    request: NicRequest, nic: Nic, cluster: Snapshot, conflicts: bool, owner: str = ""
) -> Nic:
    """``nic`` changed as asked for; ``owner`` is the uuid of the instance that has it."""
    mode = _mode(request.mode) if request.mode else nic.mode
    link = request.link or request.bridge or nic.link
    if mode is NicMode.USER:
        link = ""
    elif not link and not (link := _default_link(cluster)):
        raise Rejected(f"a NIC in mode {mode} needs a link", "such as --net 0:link=br0")
    if link and not _LINK.fullmatch(link):
        raise Rejected(f"{link!r} cannot be the name of a bridge")
    ip = _optional(request.ip, nic.ip)
    ip = allocation.ip_address(ip) if ip else None
    name = _optional(request.name, nic.name)
    mac = nic.mac
    if request.mac and request.mac not in ("auto", "generate"):
        mac = names.mac_address(request.mac)
        allocation.mac_is_free(cluster, mac, owner)
    elif request.mac:
        mac = ""
    if ip and conflicts:
        allocation.ip_is_free(cluster, ip, mode, link, owner)
    if request.vlan:
        raise Rejected("VLANs need a VLAN-aware bridge or Open vSwitch, not supported yet")
    return msgspec.structs.replace(
        nic, mac=mac, mode=mode, link=link, ip=ip, name=names.plain(name, "a NIC") if name else None
    )


def _optional(asked: str | None, old: str | None) -> str | None:
    if asked is None:
        return old
    return None if asked.lower() in ("", "none") else asked


def _mode(text: str) -> NicMode:
    supported = ", ".join(_SUPPORTED)
    try:
        mode = NicMode(text)
    except ValueError:
        raise Rejected(f"there is no NIC mode {text!r}", f"it is one of {supported}") from None
    if mode not in _SUPPORTED:
        raise Rejected(f"NIC mode {mode} is not supported yet", f"use one of {supported}")
    return mode


def _defaults(cluster: Snapshot) -> dict[str, str | int | float | bool | None]:
    return fill(NIC, cluster.cluster.nicparams)


def _default_mode(cluster: Snapshot) -> NicMode:
    return _mode(str(_defaults(cluster)["mode"]))


def _default_link(cluster: Snapshot) -> str:
    return str(_defaults(cluster)["link"] or "")
