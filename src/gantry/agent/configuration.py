"""What an agent must know before it can be asked anything: ``etc/gantry/agent.json``.

Written when the machine joins, or by whoever makes a local cluster; read once at the start.
Nothing of the cluster's own configuration is in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.ledger import Bounds
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid

FILE: Final = "etc/gantry/agent.json"
DATABASE: Final = "var/lib/gantry/agent.db"
LOG: Final = "var/log/gantry/agent.log"


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated node says that it has: memory and disk in MiB."""

    memory: int
    disk: int
    cpus: int
    sockets: int


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """``host`` and ``port`` are where it listens; directories are without the node's root."""

    cluster: Uuid
    node: Uuid
    name: str
    host: str
    port: int = 1811
    hypervisors: tuple[str, ...] = ("kvm", "fake")
    storage_directories: tuple[str, ...] = ("/srv/ganeti/file-storage",)
    shared_storage_directories: tuple[str, ...] = ("/srv/ganeti/shared-file-storage",)
    resources: Resources | None = None
    """Told instead of the machine's own, where the node is simulated."""
    hook_records: Bounds = Bounds()


def read(root: Path) -> Configuration:
    """The configuration of the agent below ``root``; Rejected where the machine never joined."""
    path = root / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Configuration)
    except FileNotFoundError:
        raise Rejected(
            f"this machine has not joined a cluster: {path} is not there",
            "on the master: gantry token NAME > FILE; here: gantry join < FILE",
            reason=Reason.ENVIRONMENT,
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise Rejected(
            f"{path} cannot be read: {error}", "join again", reason=Reason.ENVIRONMENT
        ) from error


def write(root: Path, configuration: Configuration) -> None:
    """Put it into its file, atomically."""
    path = root / FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    part = path.with_name(f".{path.name}.new")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(configuration), indent=2) + b"\n")
    part.chmod(0o600)
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(path)
