"""Taps: the host's end of a bridged NIC, and the bridges that they join.

A tap is made without "persistent": the kernel takes it away, out of its bridge, when the last
process that has it open ends. So no tap outlives its QEMU, whoever was there to see it end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import Final

from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import NicSpec

# <linux/if_tun.h>
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000

# <linux/sockios.h>, <linux/if.h>, <linux/ethtool.h>
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCETHTOOL: Final = 0x8946
_SIOCBRADDIF: Final = 0x89A2
_IFF_UP: Final = 0x1
_GET_DRIVER: Final = 0x3
_NAME_SIZE: Final = 16

_HINTS: Final = {
    errno.EBUSY: "another process has that tap: an earlier start of this guest",
    errno.ENOENT: "the node's kernel has no tun/tap driver",
}


def bridges() -> tuple[str, ...]:
    """The names of the bridges of this network namespace, sorted."""
    with _control() as control:
        names = (name for _, name in socket.if_nameindex())
        return tuple(sorted(name for name in names if _driver(control, name) == b"bridge"))


def tap_name(nic: NicSpec) -> str:
    """The interface's name: at most 15 characters, the same at every start."""
    return "gt" + nic.uuid.replace("-", "")[:12]


class BridgedTaps:
    """Taps in bridges; needs CAP_NET_ADMIN."""

    async def open(self, guest: str, nic: NicSpec, *, offload: bool) -> int:
        """An open tap joined to the bridge ``nic.link``; the caller closes it.

        Rejected where the NIC cannot be had here; OperationFailed in the kernel's words.
        """
        what = f"NIC {nic.index} of {guest}"
        _check(what, nic)
        try:
            return _open(tap_name(nic), nic.link, offload)
        except PermissionError as error:
            raise Rejected(
                f"{what} cannot be bridged: the agent may not make network devices",
                "run the agent as root or with CAP_NET_ADMIN, or use mode=user",
                reason=Reason.ENVIRONMENT,
                object_name=guest,
            ) from error
        except OSError as error:
            raise OperationFailed(
                f"{what} cannot be joined to the bridge {nic.link}: {error.strerror or error}",
                _HINTS.get(error.errno or 0, ""),
                reason=Reason.ENVIRONMENT,
                object_name=guest,
            ) from error


def _check(what: str, nic: NicSpec) -> None:
    if nic.vlan:
        raise Rejected(
            f"{what} cannot be in VLAN {nic.vlan}: bridges with VLANs are not supported yet",
            "make a bridge on that VLAN's interface and use it as the link",
        )
    if nic.link not in bridges():
        raise Rejected(
            f"{what} cannot be bridged: there is no bridge {nic.link!r}",
            "make it, or choose one of these: " + (", ".join(bridges()) or "(none)"),
            reason=Reason.ENVIRONMENT,
        )


def _open(name: str, bridge: str, offload: bool) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    flags = _IFF_TAP | _IFF_NO_PI | (_IFF_VNET_HDR if offload else 0)
    try:
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        _join(name, bridge)
    except OSError:
        os.close(tap)
        raise
    return tap


def _join(tap: str, bridge: str) -> None:
    with _control() as control:
        index = socket.if_nametoindex(tap)
        fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), index))
        asked = struct.pack("16sh22x", tap.encode(), 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, _SIOCGIFFLAGS, asked), _NAME_SIZE)
        wanted = struct.pack("16sh22x", tap.encode(), flags | _IFF_UP)
        fcntl.ioctl(control, _SIOCSIFFLAGS, wanted)


def _control() -> socket.socket:
    """Any socket: the ioctls of network devices go through one."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _driver(control: socket.socket, name: str) -> bytes:
    """The driver of an interface; empty where it has none, or is gone."""
    import ctypes  # here, for agents whose guests have no bridged interfaces

    answer = ctypes.create_string_buffer(struct.pack("I", _GET_DRIVER), 196)
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(answer))
    try:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
    except OSError:
        return b""
    return answer.raw[4:36].rstrip(b"\0")
