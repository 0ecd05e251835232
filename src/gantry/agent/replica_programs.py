"""The storage daemon that serves one replica to one node, as an argument list. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from gantry.model.backup_orders import Peer
from gantry.model.identity import node_subject
from gantry.model.names import Uuid


def export_name(disk: Uuid) -> str:
    """Under which the replica of a disk is to be had."""
    return disk


def content_name(disk: Uuid, content: str) -> str:
    """The same export once more; whose content that word stands for."""
    return f"{disk}.{content}"


def storage_daemon(
    disk: Uuid, content: str, path: str, peer: Peer, tls: Path, listener: int, *, direct: bool
) -> list[str]:
    """qemu-storage-daemon, on an inherited listening socket, for ``peer`` alone.

    ``writethrough``: a write is acknowledged once it is safe, since nobody passes flushes on.
    ``tls`` is a directory as QEMU wants it.
    """
    node = {
        "driver": "raw",
        "node-name": "disk",
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
        "id": "tls",
        "dir": str(tls),
        "endpoint": "server",
        "verify-peer": True,
        "sanity-check": False,
    }
    subject = node_subject(peer.name, peer.node)
    allowed = {"qom-type": "authz-simple", "id": "peer", "identity": subject}
    argv = [
        "qemu-storage-daemon",
        *("--blockdev", _json(node)),
        *("--object", _json(credentials)),
        *("--object", _json(allowed)),
        "--nbd-server",
        f"addr.type=fd,addr.str={listener},tls-creds=tls,tls-authz=peer",
    ]
    for number, name in enumerate((export_name(disk), content_name(disk, content))):
        export = {
            "type": "nbd",
            "id": f"export{number}",
            "node-name": "disk",
            "name": name,
            "writable": True,
            "writethrough": True,
        }
        argv += ["--export", _json(export)]
    return argv


def _json(value: Mapping[str, object]) -> str:
    """An option's value in QEMU's JSON form, in which it may hold any character."""
    return msgspec.json.encode(value).decode()
