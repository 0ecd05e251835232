"""Which 127.X.Y.0/24 block a local cluster gets, so that several live side by side.

A user's clusters are told apart by a registry; clusters of other users, and other programs, by
trying to listen. What is done with the addresses is not known here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gantry.local import description
from gantry.model.errors import OperationFailed, Reason, Unavailable

_BLOCKS: Final = 253 * 256


def candidates(directory: str, taken: Mapping[str, str]) -> Iterator[str]:
    """All blocks in the order to try, beginning at one that the directory's name gives.

    ``taken`` maps blocks to directories. 127.0.0.0/16 is left to everybody else.
    """
    first = int.from_bytes(hashlib.sha256(directory.encode()).digest()[:4], "big") % _BLOCKS
    for step in range(_BLOCKS):
        number = (first + step) % _BLOCKS
        block = f"127.{1 + number // 256}.{number % 256}"
        if taken.get(block, directory) == directory:
            yield block


def still_used(
    registry: Mapping[str, str], blocks_of: Callable[[str], Collection[str]]
) -> dict[str, str]:
    """The registry without clusters that are gone: ``blocks_of(directory)`` tells what is there."""
    return {block: place for block, place in registry.items() if block in blocks_of(place)}


def is_free(block: str) -> bool:
    """Whether the ports of a first node can be listened on."""
    for port in (description.AGENT_PORT, description.API_PORT):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((f"{block}.1", port))
            except OSError:
                return False
    return True


def claim(
    directory: Path,
    save: Callable[[str], None],
    registry: Path | None = None,
    besides: str = "",
) -> str:
    """Choose a free block and have ``save`` write it down, before anybody else may choose.

    ``besides`` is a block that the cluster has already, where it needs another one.
    """
    home = registry or _registry()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (home / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _claim(directory, save, home / "blocks.json", besides)
    except OSError as error:
        raise OperationFailed(
            f"cannot keep the registry of local clusters in {home}: {error.strerror}",
            "set XDG_STATE_HOME to a directory of yours",
            reason=Reason.ENVIRONMENT,
        ) from error


def _claim(directory: Path, save: Callable[[str], None], file: Path, besides: str) -> str:
    taken = still_used(_read(file), _blocks_of)
    for block in candidates(str(directory), taken):
        if block != besides and is_free(block):
            save(block)
            content = msgspec.json.encode({**taken, block: str(directory)})
            temporary = file.with_suffix(".new")
            temporary.write_bytes(content)
            temporary.replace(file)
            return block
    raise Unavailable(
        "no block of addresses in 127.0.0.0/8 is free",
        "take down local clusters that are not needed: gantry local down --dir DIR",
    )


def _read(file: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.MsgspecError):
        return {}


def _blocks_of(place: str) -> frozenset[str]:
    try:
        found = msgspec.json.decode(
            (Path(place) / description.FILE).read_bytes(), type=description.Description
        )
    except (OSError, msgspec.MsgspecError):
        return frozenset()
    return found.blocks


def _registry() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(state) / "gantry" / "local"
