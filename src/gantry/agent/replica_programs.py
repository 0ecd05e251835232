"""The storage daemon that serves one replica to one node: its arguments and commands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.replica_serving import Serving
from gantry.hypervisors.kvm.sockets import monitor_options
from gantry.model.backup_orders import Peer
from gantry.model.identity import node_subject
from gantry.model.names import Uuid

NODE: Final = "disk"
EXPORTS: Final = ("export0", "export1")
"""The replica under both of its names."""
_TLS: Final = "tls"
_PEER: Final = "peer"


def export_name(disk: Uuid) -> str:
    """Under which the replica of a disk is to be had."""
    return disk


def content_name(disk: Uuid, content: str) -> str:
    """The same export once more; whose content that word stands for."""
    return f"{disk}.{content}"


def storage_daemon(
    served: Serving, path: str, tls: Path, listener: int, monitor: int, *, direct: bool
) -> list[str]:
    """qemu-storage-daemon, on inherited listening sockets, for one peer alone.

    ``tls`` is a directory as QEMU wants it.
    """
    argv = _listening(path, served.peer, tls, listener, direct=direct)
    for export in exports(served.disk.uuid, served.content):
        argv += ["--export", _json(export)]
    return [*argv, *monitor_options(monitor, waits=False)]


def waiting_daemon(
    path: str, peer: Peer, tls: Path, listener: int, monitor: int, *, direct: bool
) -> list[str]:
    """The same, which exports nothing before it is told to, on another inherited socket.

    It takes no lock of the file before that: somebody else still writes there.
    """
    return [*_listening(path, peer, tls, listener, direct=direct), *monitor_options(monitor)]


def exports(disk: Uuid, content: str) -> list[dict[str, object]]:
    """What is exported.

    ``writethrough``: a write is acknowledged once it is safe, since nobody passes flushes on.
    """
    return [
        {
            "type": "nbd",
            "id": number,
            "node-name": NODE,
            "name": name,
            "writable": True,
            "writethrough": True,
        }
        for number, name in zip(
            EXPORTS, (export_name(disk), content_name(disk, content)), strict=True
        )
    ]


def _listening(path: str, peer: Peer, tls: Path, listener: int, *, direct: bool) -> list[str]:
    """The program with the file, and whom it lets in."""
    node = {
        "driver": "raw",
        "node-name": NODE,
        "file": {
            "driver": "file",
            "filename": path,
            "locking": "on",
            "discard": "ignore",
            "cache": {"direct": direct},
            "aio": "native" if direct else "threads",
        },
    }
    credentials = {
        "qom-type": "tls-creds-x509",
        "id": _TLS,
        "dir": str(tls),
        "endpoint": "server",
        "verify-peer": True,
        "sanity-check": False,
    }
    subject = node_subject(peer.name, peer.node)
    allowed = {"qom-type": "authz-simple", "id": _PEER, "identity": subject}
    server = f"addr.type=fd,addr.str={listener},tls-creds={_TLS},tls-authz={_PEER}"
    return [
        "qemu-storage-daemon",
        *("--blockdev", _json(node)),
        *("--object", _json(credentials)),
        *("--object", _json(allowed)),
        *("--nbd-server", server),
    ]


def _json(value: Mapping[str, object]) -> str:
    """An option's value in QEMU's JSON form, in which it may hold any character."""
    return msgspec.json.encode(value).decode()
