"""Opening the cluster's store: the only place that does. Which one it is, says ``store.json``.

``etc/gantry/store.json`` is there where the store is etcd; without it, it is SQLite. What is
needed to log in to etcd is beside it, in ``etc/gantry/store``, of mode 600.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gantry.model.errors import Reason, Rejected
from gantry.pki import files
from gantry.ports.store import Store
from gantry.store.sqlite import open_sqlite

if TYPE_CHECKING:
    # Brings in aiohttp.
    from gantry.store.etcd import Access

STATE: Final = "var/lib/gantry/state.db"
CONFIGURATION: Final = "etc/gantry/store.json"
DIRECTORY: Final = "etc/gantry/store"
CA: Final = "ca.pem"
CERTIFICATE: Final = "client.pem"
KEY: Final = "client.key"
PASSWORD: Final = "password"  # noqa: S105 a file's name


class StoreKind(enum.StrEnum):
    """What keeps the state."""

    SQLITE = "sqlite"
    ETCD = "etcd"


class StoreConfiguration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``store.json``; each flag says whether the file of that name is in ``etc/gantry/store``."""

    kind: StoreKind = StoreKind.SQLITE
    endpoints: tuple[str, ...] = ()
    prefix: str = ""
    ca: bool = False
    certificate: bool = False
    user: str | None = None


def configuration(root: Path) -> StoreConfiguration:
    """What ``store.json`` says; Rejected where it cannot be read."""
    path = root / CONFIGURATION
    try:
        return msgspec.json.decode(path.read_bytes(), type=StoreConfiguration)
    except FileNotFoundError:
        return StoreConfiguration()
    except (OSError, msgspec.MsgspecError) as error:
        raise Rejected(
            f"{path} cannot be read: {error}",
            "copy it, and the files in store beside it, from another master candidate",
            reason=Reason.ENVIRONMENT,
        ) from error


def kind(root: Path) -> StoreKind:
    """Which store the node's cluster has."""
    return configuration(root).kind


def access(root: Path) -> Access:
    """Where etcd is and how to log in, for a node whose store it is."""
    from gantry.store.etcd import Access

    said = configuration(root)
    directory = root / DIRECTORY
    return Access(
        endpoints=said.endpoints,
        prefix=said.prefix,
        ca=directory / CA if said.ca else None,
        certificate=directory / CERTIFICATE if said.certificate else None,
        key=directory / KEY if said.certificate else None,
        user=said.user,
        password_file=directory / PASSWORD if said.user is not None else None,
    )


def belongings(root: Path) -> tuple[Path, ...]:
    """The files that another node needs to open the same store, relative to the root."""
    said = configuration(root)
    if said.kind is StoreKind.SQLITE:
        return ()
    names = [CA] if said.ca else []
    names += [CERTIFICATE, KEY] if said.certificate else []
    names += [PASSWORD] if said.user is not None else []
    return (Path(CONFIGURATION), *(Path(DIRECTORY) / name for name in names))


async def open_store(root: Path, *, writer: str | None = None) -> Store:
    """Open the store that is there, for this process alone where it is SQLite.

    ``writer`` is the node's uuid for a master: no two processes write to etcd under one name.
    Raises StoreLocked, StoreDamaged, StoreUnavailable, and Rejected (an unreadable file).
    """
    if kind(root) is StoreKind.SQLITE:
        return await open_sqlite(root / STATE, create=False)
    from gantry.store.etcd import open_etcd

    return await open_etcd(access(root), writer=writer)


async def create_store(root: Path, wanted: Access | None) -> Store:
    """Open a new, empty store: in etcd, or a file. ``wanted``'s files are copied to the node."""
    if wanted is None:
        (root / STATE).parent.mkdir(parents=True, exist_ok=True)
        return await open_sqlite(root / STATE, create=True)
    _write(root, wanted)
    return await open_store(root)


async def described(root: Path) -> dict[str, Any]:
    """For ``gnt-cluster info``: the kind and, for etcd, how each member is; sizes in MiB."""
    said = configuration(root)
    if said.kind is StoreKind.SQLITE:
        state = root / STATE
        return {"kind": said.kind, "file": str(state), "size": state.stat().st_size // 2**20}
    from gantry.store.etcd.health import members

    found = await members(access(root))
    return {"kind": said.kind, "prefix": said.prefix, "members": msgspec.to_builtins(found)}


def put_away(root: Path, moment: int) -> None:
    """Keep a destroyed cluster's state aside, so that a new one can be made.

    In etcd it stays where it is: the next ``gnt-cluster init`` below that prefix clears it away.
    """
    mark = f".destroyed-{moment}"
    if kind(root) is StoreKind.ETCD:
        for place in (root / CONFIGURATION, root / DIRECTORY):
            if place.exists():
                place.rename(place.with_name(place.name + mark))
        return
    state = root / STATE
    state.rename(state.with_name(state.name + mark))
    for suffix in ("-wal", "-shm"):
        state.with_name(state.name + suffix).unlink(missing_ok=True)


def _write(root: Path, wanted: Access) -> None:
    sources = {
        CA: wanted.ca,
        CERTIFICATE: wanted.certificate,
        KEY: wanted.key,
        PASSWORD: wanted.password_file,
    }
    for name, source in sources.items():
        if source is not None:
            files.write(root / DIRECTORY / name, source.read_text())
    said = StoreConfiguration(
        kind=StoreKind.ETCD,
        endpoints=wanted.endpoints,
        prefix=wanted.prefix,
        ca=wanted.ca is not None,
        certificate=wanted.certificate is not None,
        user=wanted.user,
    )
    # Last: what it names is there.
    text = msgspec.json.format(msgspec.json.encode(said), indent=1).decode() + "\n"
    files.write(root / CONFIGURATION, text)
