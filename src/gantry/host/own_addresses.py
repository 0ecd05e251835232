"""Whether an address leads back to this machine, or to nothing but its link."""

from __future__ import annotations

import contextlib
import ipaddress
import socket


def is_own(address: str) -> bool:
    """Of this machine, or of its link alone (where clouds tell machines their secrets).

    ValueError where it is no address.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    known = mapped or parsed
    if known.is_loopback or known.is_unspecified or known.is_link_local:
        return True
    family = socket.AF_INET if known.version == 4 else socket.AF_INET6
    # The kernel knows all that the machine has: it binds to no other.
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind((str(known), 0))
        return True
    return False
