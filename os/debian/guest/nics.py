"""The instance's NICs: what the guest is to be told about each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from guest.inputs import Fault, count, is_address, variable, words

_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_PREFIX = re.compile(r"/([0-9]{1,3})")


@dataclass(frozen=True)
class Nic:
    """One NIC; without an ``address`` (with its prefix) the guest asks by DHCP."""

    mac: str
    address: str = ""
    gateway: str = ""
    on_link: bool = False
    """The gateway is not in the address's network, or all goes out by the link without one."""
    nameservers: tuple[str, ...] = ()

    @property
    def six(self) -> bool:
        """Whether the address is one of IPv6."""
        return ":" in self.address


def nics() -> list[Nic]:
    """All NICs, in order; Fault where a variable cannot be what it says."""
    servers = tuple(words(variable("OSP_NAMESERVER")))
    return [_nic(index, servers) for index in range(count("NIC_COUNT"))]


def _nic(index: int, servers: tuple[str, ...]) -> Nic:
    def field(name: str) -> str:
        return variable(f"NIC_{index}_{name}")

    mac = field("MAC")
    if not _MAC.fullmatch(mac):
        raise Fault(f"NIC_{index}_MAC {mac!r} is not a MAC address")
    for name in ("IP", "NETWORK_GATEWAY", "NETWORK_GATEWAY6"):
        if field(name) and not is_address(field(name)):
            raise Fault(f"NIC_{index}_{name} {field(name)!r} is not an IP address")
    mac, address = mac.lower(), field("IP")
    if field("MODE") == "user":
        return _user(mac, address, field("NETWORK_SUBNET"), field("NETWORK_GATEWAY"), servers)
    if not address:
        return Nic(mac=mac, nameservers=servers)
    six = "6" if ":" in address else ""
    gateway = field(f"NETWORK_GATEWAY{six}")
    subnet = field(f"NETWORK_SUBNET{six}")
    routed = field("MODE") == "routed" and not gateway
    alone, usual = (128, 64) if six else (32, 24)
    prefix = alone if routed else _prefix(index, subnet, usual, alone)
    interface = ip_interface(f"{address}/{prefix}")
    if not (gateway or routed):
        gateway = _gateway_in(interface)
    beyond = bool(gateway) and ip_address(gateway) not in interface.network
    return Nic(
        mac=mac,
        address=f"{address}/{prefix}",
        gateway=gateway,
        on_link=routed or beyond,
        nameservers=servers,
    )


def _user(mac: str, address: str, subnet: str, gateway: str, servers: tuple[str, ...]) -> Nic:
    """On QEMU's own network the gateway is .2 and the name server .3."""
    address = address or "10.0.2.15"
    network = address.rpartition(".")[0]
    if not network:
        raise Fault(f"{address}: a NIC in mode user has an address of IPv4")
    found = _PREFIX.search(subnet)
    return Nic(
        mac=mac,
        address=f"{address}/{found[1] if found else 24}",
        gateway=gateway or f"{network}.2",
        nameservers=servers or (f"{network}.3",),
    )


def _prefix(index: int, subnet: str, usual: int, most: int) -> int:
    found = _PREFIX.search(subnet)
    if not found:
        given = variable("OSP_PREFIX")
        return int(given) if given and int(given) <= most else usual
    if int(found[1]) > most:
        raise Fault(f"NIC_{index}_NETWORK_SUBNET {subnet!r} is not a network")
    return int(found[1])


def _gateway_in(interface: IPv4Interface | IPv6Interface) -> str:
    """The parameter ``gateway``, for the NIC in whose network it is."""
    given = variable("OSP_GATEWAY")
    return given if given and ip_address(given) in interface.network else ""
