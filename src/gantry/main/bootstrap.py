"""Making a cluster: its certificates, its state, the first node's agent configuration.

No daemon needs to run, and none is started. The scripts of ``cluster-init`` run here, as the
hook interface says: in version 1 before and after the state is made, in version 2 after.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gantry.agent import configuration as agent_configuration
from gantry.host.clock import SystemClock
from gantry.jobs.distributor import ssconf
from gantry.main import first_hooks
from gantry.main import store as stores
from gantry.model import timeouts
from gantry.model.codec import decode, encode
from gantry.model.entities import CLUSTER_KEY, AnyEntity, Cluster, Group, Node, key
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid, host_name
from gantry.model.snapshot import Snapshot, build
from gantry.operations.cluster.modify import ClusterModify
from gantry.operations.steps.allocation import ip_address
from gantry.pki import files as certificates
from gantry.ports.clock import Clock
from gantry.ports.store import MAX_OPERATIONS, Compare, Delete, Put, Store
from gantry.supervision.hook_runs import Bounds

if TYPE_CHECKING:
    # Brings in aiohttp.
    from gantry.store.etcd import Access

MASTER: Final = "etc/gantry/master.json"


class StoreWish(msgspec.Struct, frozen=True, kw_only=True):
    """An etcd to keep the state in, instead of a file; ``prefix`` is made of the cluster's name."""

    endpoints: tuple[str, ...]
    prefix: str | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password_file: Path | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; ``parameters`` are fields of OP_CLUSTER_SET_PARAMS."""

    cluster_name: str
    node_name: str | None = None
    primary_ip: str | None = None
    secondary_ip: str | None = None
    port: int = 1811
    api_port: int = 5080
    parameters: dict[str, Any] = {}
    store: StoreWish | None = None


class MasterConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """``etc/gantry/master.json``: where the API listens beside its socket; bounds of the index."""

    api_host: str
    api_port: int = 5080
    hook_records: Bounds = Bounds()


async def init(root: Path, settings: Settings, say: Callable[[str], None]) -> Snapshot:
    """Make the cluster below ``root``, with this machine as its master and first node.

    Rejected where there is one already or a value does not fit: nothing was changed then.
    HooksDenied where a pre script said no.
    """
    clock = SystemClock()
    snapshot = _entities(settings, clock)
    wanted = _access(settings.store, snapshot.cluster.name)
    await _is_new(root, wanted)
    async with first_hooks.around(root, snapshot, say):
        say(f"making cluster {snapshot.cluster.name}, master {snapshot.master.name}")
        await _make(root, settings, snapshot, wanted, clock.now())
    return snapshot


async def _make(
    root: Path, settings: Settings, snapshot: Snapshot, wanted: Access | None, now: float
) -> None:
    _certificates(root, snapshot, now)
    master = snapshot.master
    shared = snapshot.cluster
    agent_configuration.write(
        root,
        agent_configuration.Configuration(
            cluster=shared.uuid,
            node=master.uuid,
            name=master.name,
            host=master.primary_ip,
            port=master.port,
            hypervisors=tuple(shared.enabled_hypervisors),
            storage_directories=(shared.file_storage_dir,),
            shared_storage_directories=(shared.shared_file_storage_dir,),
        ),
    )
    configuration = MasterConfiguration(api_host=master.primary_ip, api_port=settings.api_port)
    certificates.write(root / MASTER, msgspec.json.encode(configuration).decode())
    _words_of_cluster(root, snapshot)
    await _store(root, snapshot, wanted)


def _access(wish: StoreWish | None, cluster: str) -> Access | None:
    if wish is None:
        return None
    from gantry.store.etcd.access import Access, check

    prefix = wish.prefix or f"/gantry/{cluster}/"
    given = {name: getattr(wish, name) for name in wish.__struct_fields__ if name != "prefix"}
    wanted = Access(**given, prefix=prefix)
    check(wanted)
    return wanted


async def _is_new(root: Path, wanted: Access | None) -> None:
    """Rejected where this machine, or the etcd that is wanted, has a cluster already."""
    there = [root / name for name in (stores.CONFIGURATION, stores.STATE) if (root / name).exists()]
    if there and await _has_cluster(await stores.open_store(root)):
        raise Rejected(
            f"there is a cluster on this machine already: {there[0]}",
            "gnt-cluster info shows it; gnt-cluster destroy ends it",
            reason=Reason.EXISTS,
        )
    if wanted is not None:
        from gantry.store.etcd import Patience, open_etcd

        # An operator waits for it, who can try again.
        patience = Patience(whole=timeouts.CONNECT)
        if await _has_cluster(await open_etcd(wanted, patience=patience)):
            raise Rejected(
                f"etcd has a cluster below {wanted.prefix} already",
                "end it there with gnt-cluster destroy, or give another --store-prefix",
                reason=Reason.EXISTS,
            )


async def _has_cluster(store: Store) -> bool:
    """Whether there is one that was not destroyed; closes the store."""
    try:
        item = await store.get(CLUSTER_KEY)
    finally:
        await store.close()
    if item is None:
        return False
    found = decode(CLUSTER_KEY, item.value)
    return not (isinstance(found, Cluster) and found.destroyed)


def _entities(settings: Settings, clock: Clock) -> Snapshot:
    now = clock.now()
    name = host_name(settings.node_name or socket.getfqdn(), "the name of a node")
    cluster_name = host_name(settings.cluster_name, "the name of a cluster")
    if name == cluster_name:
        raise Rejected(f"cluster and node cannot both be called {name}")
    for port in (settings.port, settings.api_port):
        if not 0 < port < 65536:
            raise Rejected(f"{port} is not a port number")
    primary = ip_address(settings.primary_ip or _address(name))
    group = Group(uuid=clock.uuid(), name="default", ctime=now, mtime=now)
    node = Node(
        uuid=clock.uuid(),
        name=name,
        ctime=now,
        mtime=now,
        primary_ip=primary,
        secondary_ip=ip_address(settings.secondary_ip) if settings.secondary_ip else primary,
        port=settings.port,
        group=group.uuid,
    )
    cluster = Cluster(
        uuid=clock.uuid(),
        name=cluster_name,
        ctime=now,
        mtime=now,
        master_node=node.uuid,
        api_port=settings.api_port,
    )
    bare = build(0, [cluster, group, node])
    if not settings.parameters:
        return bare
    operation = msgspec.convert(settings.parameters, ClusterModify)
    changed = operation.changed(cluster)
    return bare.with_changes(0, [changed])


def _address(name: str) -> str:
    try:
        found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    except OSError as error:
        raise Rejected(
            f"the name {name} of this machine does not resolve: {error}",
            "enter it in /etc/hosts, or give --primary-ip",
            reason=Reason.RESOLVER,
        ) from None
    return str(found[0][4][0])


def _certificates(root: Path, snapshot: Snapshot, now: float) -> None:
    master = snapshot.master
    # Brings in cryptography, which the processes that wait to be the master do not need.
    from gantry.pki.authority import Authority

    authority = Authority.create(snapshot.cluster.uuid, snapshot.cluster.name, now)
    authority.save(root)
    issued = {
        certificates.NODE: authority.issue_node(master.uuid, master.name, now),
        certificates.MASTER: authority.issue_master(now),
        certificates.API: authority.issue_api(
            [snapshot.cluster.name, master.name, master.primary_ip], now
        ),
    }
    for name, pair in issued.items():
        certificates.write(certificates.certificate(root, name), pair.certificate)
        certificates.write(certificates.key(root, name), pair.key)


def _words_of_cluster(root: Path, snapshot: Snapshot) -> None:
    directory = root / "var/lib/ganeti"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in ssconf(snapshot).items():
        (directory / name).write_text(text)


async def _store(root: Path, snapshot: Snapshot, wanted: Access | None) -> None:
    store = await stores.create_store(root, wanted)
    try:
        await _clear(store)
        entities: list[AnyEntity] = [
            snapshot.cluster,
            *snapshot.groups.values(),
            *snapshot.nodes.values(),
        ]
        puts = [Put(key(entity), encode(entity)) for entity in entities]
        await store.txn([Compare(put.key, 0) for put in puts], puts)
    finally:
        await store.close()


async def _clear(store: Store) -> None:
    """Nothing is left of a cluster that was destroyed; a file of one was put aside whole."""
    left = [item.key for item in (await store.range("")).items]
    for start in range(0, len(left), MAX_OPERATIONS):
        await store.txn([], [Delete(key) for key in left[start : start + MAX_OPERATIONS]])


def root_directory() -> Path:
    """The node's root: ``GANTRY_ROOT``, else ``/``."""
    return Path(os.environ.get("GANTRY_ROOT") or "/").absolute()


def to_stderr(text: str) -> None:
    """Say a line to the operator."""
    sys.stderr.write(text + "\n")


def node_uuid(root: Path) -> Uuid:
    """Which node this machine is; Rejected where it never joined a cluster."""
    return agent_configuration.read(root).node
