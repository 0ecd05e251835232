"""What cloud-init is told: the files of its NoCloud source.

All but the user data is JSON, which is YAML too: nothing in a value can be taken for anything
else.
"""

from __future__ import annotations

import hashlib
import json

from guest.inputs import instance_name, ssh_keys, variable, words
from guest.nics import Nic, nics


def files() -> dict[str, bytes]:
    """Name and content. The instance's id changes with the content: cloud-init looks again."""
    name, keys = instance_name(), ssh_keys()
    network = _json(network_config(nics()))
    user = variable("OSP_USER_DATA").encode("utf-8") or b"#cloud-config\n{}\n"
    vendor = b"#cloud-config\n" + _json(vendor_data())
    told = repr((name, keys, network, user, vendor)).encode()
    digest = hashlib.sha256(told).hexdigest()[:12]
    meta = {
        "instance-id": f"{variable('INSTANCE_UUID') or name}-{digest}",
        "local-hostname": name,
        "public-keys": keys,
    }
    return {
        "meta-data": _json(meta),
        "network-config": network,
        "user-data": user if user.endswith(b"\n") else user + b"\n",
        "vendor-data": vendor,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def vendor_data() -> dict[str, object]:
    """What our parameters ask for; the user data has the last word."""
    told: dict[str, object] = {}
    if words(variable("OSP_PACKAGES")):
        told["packages"] = words(variable("OSP_PACKAGES"))
    if variable("OSP_PASSWORD_HASH"):
        told["password"] = variable("OSP_PASSWORD_HASH")
        told["chpasswd"] = {"expire": False}
    return told


def network_config(found: list[Nic]) -> dict[str, object]:
    """Version 2; each NIC is known by its MAC address and called eth0, eth1 and so on."""
    return {
        "version": 2,
        "ethernets": {f"eth{number}": _nic(number, nic) for number, nic in enumerate(found)},
    }


def _nic(number: int, nic: Nic) -> dict[str, object]:
    told: dict[str, object] = {"match": {"macaddress": nic.mac}, "set-name": f"eth{number}"}
    if nic.nameservers:
        told["nameservers"] = {"addresses": list(nic.nameservers)}
    if not nic.address:
        return {**told, "dhcp4": True}
    told |= {"dhcp4": False, "addresses": [nic.address]}
    route: dict[str, object] = {"to": "::/0" if nic.six else "0.0.0.0/0"}
    if nic.gateway:
        route["via"] = nic.gateway
    if nic.on_link:
        route["on-link"] = True
        if not nic.gateway:
            # The node answers for every address, so any will do as a gateway.
            route["via"] = "fe80::1" if nic.six else "169.254.1.1"
    if "via" in route:
        told["routes"] = [route]
    return told
