"""NICs as users ask for them, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from gantry.model import names
from gantry.model.entities import Nic, NicMode
from gantry.model.errors import Reason, Rejected
from gantry.model.parameters import NIC, fill
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given
from gantry.operations.steps import allocation

MAX_NICS: Final = 8
ISOLATED: Final = "isolated"
"""The one link of mode user: the guest reaches nothing."""
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
    network: str | None = None
    name: str | None = None


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """What a NIC must get along with: the NICs beside it, and everybody else's.

    ``owner`` is the uuid of the instance, whose present NICs do not count; ``conflicts`` says
    whether IP addresses are compared at all.
    """

    cluster: Snapshot
    given: Given
    beside: tuple[Nic, ...] = ()
    owner: str = ""
    conflicts: bool = True


def make(request: NicRequest, others: Others) -> Nic:
    """A new NIC. Rejected where something does not fit."""
    mode = _default_mode(others.cluster)
    link = "" if mode is NicMode.USER else _default_link(others.cluster)
    return apply(request, Nic(uuid=others.given.uuid(), mac="", mode=mode, link=link), others)


def apply(request: NicRequest, nic: Nic, others: Others) -> Nic:
    """``nic`` changed as asked for. Rejected where something does not fit."""
    if request.vlan:
        raise Rejected("VLANs need a VLAN-aware bridge or Open vSwitch, not supported yet")
    if _optional(request.network, None):
        raise Rejected(
            f"there is no network {request.network!r}: networks (gnt-network) are not there yet",
            "give the NIC its mode, link and ip",
        )
    mode = _mode(request.mode) if request.mode else nic.mode
    name = _optional(request.name, nic.name)
    changed = msgspec.structs.replace(
        nic,
        mode=mode,
        link=_link(request, nic, mode, others.cluster),
        ip=_ip(request, nic),
        name=names.plain(name, "a NIC") if name else None,
    )
    if changed.ip and others.conflicts:
        _ip_fits(changed, changed.ip, others)
    return msgspec.structs.replace(changed, mac=_mac(request, nic, others))


def _link(request: NicRequest, nic: Nic, mode: NicMode, cluster: Snapshot) -> str:
    asked = request.link or request.bridge
    if mode is NicMode.USER:
        if asked not in (None, ISOLATED):
            raise Rejected(
                f"a NIC in mode {mode} has no link {asked!r}",
                f"give mode=bridged for a bridge; link={ISOLATED} cuts the guest off from all",
            )
        return asked or (nic.link if nic.mode is NicMode.USER else "")
    kept = "" if nic.mode is NicMode.USER else nic.link
    link = asked or kept or _default_link(cluster)
    if not link:
        raise Rejected(f"a NIC in mode {mode} needs a link", "such as --net 0:link=br0")
    if not _LINK.fullmatch(link):
        raise Rejected(f"{link!r} cannot be the name of a bridge")
    return link


def _ip(request: NicRequest, nic: Nic) -> str | None:
    ip = _optional(request.ip, nic.ip)
    return allocation.ip_address(ip) if ip else None


def _ip_fits(nic: Nic, ip: str, others: Others) -> None:
    allocation.ip_is_free(others.cluster, ip, nic.mode, nic.link, others.owner)
    twin = any(
        one.ip == ip and (one.mode, one.link) == (nic.mode, nic.link) for one in others.beside
    )
    if twin and nic.mode is not NicMode.USER:
        raise Rejected(f"address {ip} on {nic.link} is given twice", reason=Reason.NOT_UNIQUE)


def _mac(request: NicRequest, nic: Nic, others: Others) -> str:
    taken = {one.mac for one in others.beside}
    if request.mac and request.mac not in ("auto", "generate"):
        mac = names.mac_address(request.mac)
        allocation.mac_is_free(others.cluster, mac, others.owner)
        if mac in taken:
            raise Rejected(f"MAC address {mac} is given twice", reason=Reason.NOT_UNIQUE)
        return mac
    if nic.mac and not request.mac:
        return nic.mac
    return allocation.new_mac(others.cluster, others.given, taken)


def reservations(nics: Iterable[Nic], conflicts: bool) -> tuple[str, ...]:
    """What nobody else may take: the MAC addresses, and the IP addresses unless shared."""
    nics = tuple(nics)
    macs = tuple(f"mac/{nic.mac}" for nic in nics)
    ips = tuple(
        f"ip/{nic.link}/{nic.ip}" for nic in nics if nic.ip and nic.mode is not NicMode.USER
    )
    return macs + (ips if conflicts else ())


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
