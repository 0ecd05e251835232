"""What makes a guest this one: its name, addresses, keys, as files."""

from __future__ import annotations

from guest.inputs import Fault, instance_name, ssh_keys, variable
from guest.nics import Nic, nics

from debian_guest.root_files import RootFiles

NETWORK = "/etc/systemd/network"
_PREFIX = "10-gantry-"
_SHADOW_GROUP = 42
_Files = dict[str, "tuple[bytes, int, int]"]


def name_and_network() -> _Files:
    """Host name and NICs."""
    name = instance_name()
    short = name.partition(".")[0]
    files = {"/etc/hostname": f"{name}\n"}
    names = name if name == short else f"{name} {short}"
    files["/etc/hosts"] = (
        f"127.0.0.1 localhost\n127.0.1.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n"
    )
    for number, nic in enumerate(nics()):
        files[f"{NETWORK}/{_PREFIX}{number}.network"] = network_file(nic)
    return {path: (text.encode(), 0o644, 0) for path, text in files.items()}


def network_file(nic: Nic) -> str:
    """A file for systemd-networkd; the NIC is known by its MAC address."""
    lines = ["[Match]", f"MACAddress={nic.mac}", "", "[Network]"]
    lines += [f"DNS={server}" for server in nic.nameservers]
    if not nic.address:
        lines.append("DHCP=yes")
    else:
        lines.append(f"Address={nic.address}")
        lines += _route(nic)
    return "\n".join(lines) + "\n"


def _route(nic: Nic) -> list[str]:
    if nic.gateway:
        lines = ["", "[Route]", f"Gateway={nic.gateway}"]
        return [*lines, "GatewayOnLink=yes"] if nic.on_link else lines
    if not nic.on_link:
        return []
    if nic.six:
        return ["", "[Route]", "Destination=::/0"]
    return ["", "[Route]", "Destination=0.0.0.0/0", "Scope=link"]


def stale_network(root: RootFiles, files: _Files) -> list[str]:
    """Files of NICs that are not there any more."""
    ours = [f"{NETWORK}/{name}" for name in root.names(NETWORK) if name.startswith(_PREFIX)]
    return [path for path in ours if path not in files]


def mounts(uuid: str) -> _Files:
    """The root grows to its partition when it is mounted."""
    line = f"UUID={uuid} / ext4 errors=remount-ro,x-systemd.growfs 0 1\n"
    return {"/etc/fstab": (line.encode(), 0o644, 0)}


def access(root: RootFiles) -> _Files:
    """Who may log in."""
    files: _Files = {}
    if ssh_keys():
        keys = "".join(f"{key}\n" for key in ssh_keys())
        files["/root/.ssh/authorized_keys"] = (keys.encode(), 0o600, 0)
    if variable("OSP_PASSWORD_HASH"):
        shadow = with_password(root.read("/etc/shadow").decode(), variable("OSP_PASSWORD_HASH"))
        files["/etc/shadow"] = (shadow.encode(), 0o640, _SHADOW_GROUP)
    return files


def with_password(shadow: str, value: str) -> str:
    """The file of passwords with another one for root."""
    lines = shadow.splitlines()
    for number, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == "root" and len(fields) == 9:
            fields[1] = value
            lines[number] = ":".join(fields)
            return "\n".join(lines) + "\n"
    raise Fault("the guest's /etc/shadow has no root")
