"""Where a new instance goes, and the addresses it gets: pure functions of a snapshot."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final

from gantry.model.entities import AllocPolicy, HypervisorName, NicMode, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given

FIRST_PORT: Final = 11000
LAST_PORT: Final = 14999
_TRIES: Final = 1000


def candidates(cluster: Snapshot, hypervisor: HypervisorName) -> list[Node]:
    """Nodes that take new instances, those in preferred groups first."""
    found = []
    for node in cluster.nodes.values():
        live = cluster.node_live(node.uuid)
        group = cluster.groups[node.group]
        if node.offline or node.drained or not node.vm_capable or not live.reachable:
            continue
        if group.alloc_policy is AllocPolicy.UNALLOCABLE:
            continue
        offer = live.facts.hypervisors.get(hypervisor) if live.facts else None
        if offer is not None and offer.available:
            found.append(node)
    preferred = [
        node for node in found if cluster.groups[node.group].alloc_policy is AllocPolicy.PREFERRED
    ]
    return preferred or found


def most_free(
    cluster: Snapshot,
    hypervisor: HypervisorName,
    memory: int,
    disk: int,
    but: Collection[Uuid] = (),
) -> Node:
    """The node with the most free memory on which both fit, or Rejected with what each has.

    ``but`` are nodes that are not meant.
    """
    nodes = [node for node in candidates(cluster, hypervisor) if node.uuid not in but]
    fitting = [
        node
        for node in nodes
        if (cluster.free_memory(node.uuid) or 0) >= memory
        and (cluster.free_disk(node.uuid) or 0) >= disk
    ]
    if fitting:
        return max(fitting, key=lambda node: (cluster.free_memory(node.uuid) or 0, node.name))
    if not nodes:
        raise Rejected(
            f"no node takes new instances with hypervisor {hypervisor}",
            "gnt-node list shows their states; gnt-node info says why a hypervisor is missing",
            reason=Reason.NO_RESOURCES,
        )
    have = ", ".join(
        f"{node.name}: {cluster.free_memory(node.uuid) or 0} MiB memory, "
        f"{cluster.free_disk(node.uuid) or 0} MiB disk"
        for node in sorted(nodes, key=lambda node: node.name)[:5]
    )
    raise Rejected(
        f"no node has {memory} MiB of memory and {disk} MiB of disk left ({have})",
        "free something, add a node, or ask for less",
        reason=Reason.NO_RESOURCES,
    )


def new_mac(cluster: Snapshot, given: Given, taken: Collection[str] = ()) -> str:
    """A MAC address with the cluster's prefix that nobody has."""
    for _ in range(_TRIES):
        tail = ":".join(f"{byte:02x}" for byte in given.random_bytes(3))
        address = f"{cluster.cluster.mac_prefix}:{tail}"
        if address in taken or f"mac/{address}" in cluster.reserved:
            continue
        if address not in cluster.macs:
            return address
    raise Rejected(
        f"no free MAC address was found below {cluster.cluster.mac_prefix}",
        "choose another prefix with gnt-cluster modify --mac-prefix",
        reason=Reason.NO_RESOURCES,
    )


def mac_is_free(cluster: Snapshot, mac: str, but: str = "") -> None:
    """No instance (other than the one with uuid ``but``) has the address, or Rejected."""
    owner = cluster.macs.get(mac, but)
    if owner != but:
        raise Rejected(
            f"MAC address {mac} is that of instance {cluster.instances[Uuid(owner)].name}",
            "leave it out, and one is generated",
            reason=Reason.NOT_UNIQUE,
        )


def ip_is_free(cluster: Snapshot, ip: str, mode: NicMode, link: str, but: str = "") -> None:
    """Nobody on the same link has the address, or Rejected. ``user`` networks are private."""
    if mode is NicMode.USER:
        return
    for node in cluster.nodes.values():
        if ip in (node.primary_ip, node.secondary_ip):
            raise Rejected(f"address {ip} is that of node {node.name}", reason=Reason.NOT_UNIQUE)
    for one in cluster.instances.values():
        for nic in one.nics:
            same = nic.ip == ip and nic.mode is not NicMode.USER and nic.link == link
            if same and one.uuid != but:
                raise Rejected(
                    f"address {ip} on {link} is that of instance {one.name}",
                    "choose another address, or give --no-conflicts-check",
                    reason=Reason.NOT_UNIQUE,
                )


def ip_address(text: str) -> str:
    """An address in its usual form, or Rejected; a zone (``%eth0``) is of one machine only."""
    try:
        if "%" in text:
            raise ValueError(text)
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise Rejected(f"{text!r} is not an IP address", "such as 10.0.2.15") from None


def free_port(cluster: Snapshot) -> int:
    """The lowest port of the pool (for VNC) that no instance has."""
    used = {one.network_port for one in cluster.instances.values()}
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in used and f"port/{port}" not in cluster.reserved:
            return port
    raise Rejected(
        f"no port between {FIRST_PORT} and {LAST_PORT} is left",
        "remove instances that are not needed",
        reason=Reason.NO_RESOURCES,
    )
