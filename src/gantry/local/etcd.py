"""The three members of etcd of a local cluster: their certificates, starting them, ending them.

They trust only a CA of their own, which is none of the cluster's. Each has its directory beside
the nodes' and an address of the cluster's block.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Final

from gantry.host.daemon import Daemon, spawn
from gantry.local import processes
from gantry.local.description import Description, StoreMember
from gantry.local.layout import Layout, Role
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed, Reason
from gantry.model.names import Uuid
from gantry.pki import files

_PROGRAM: Final = "etcd"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the daemons of a local cluster look for programs."""
_CLIENT: Final = "client"
_MEMBER: Final = "member"
_ENTRIES: Final = 10_000
"""After which etcd writes its log into a snapshot; its default, 100,000, takes much memory."""


async def start(layout: Layout, about: Description) -> None:
    """Have all members run; returns when a majority of them answers."""
    if shutil.which(_PROGRAM, path=_PATH) is None:
        raise OperationFailed(
            f"there is no program {_PROGRAM}",
            "apt-get install etcd-server; the service that comes with it is not needed:"
            " systemctl disable --now etcd",
            reason=Reason.ENVIRONMENT,
        )
    _certificates(layout, about)
    started = [_start(layout, about, member) for member in about.store_members]
    try:
        await _answers(layout, about)
    except GantryError as error:
        first = about.store_members[0]
        raise OperationFailed(
            f"etcd does not come up: {error}",
            f"see {layout.log(first, Role.ETCD)} and those of the others",
            reason=Reason.ENVIRONMENT,
        ) from error
    finally:
        for daemon in started:
            if daemon is not None:
                daemon.let_go()


async def stop(layout: Layout, about: Description) -> None:
    """End all members."""
    await asyncio.gather(
        *(processes.stop(layout, member, Role.ETCD) for member in about.store_members)
    )


async def remove(layout: Layout, about: Description) -> None:
    """End them, and forget what they hold."""
    await stop(layout, about)
    for member in about.store_members:
        shutil.rmtree(layout.root(member), ignore_errors=True)


def options(layout: Layout, about: Description) -> list[str]:
    """What ``gnt-cluster init`` must be told."""
    if not about.store_members:
        return []
    pki = _pki(layout, about)
    return [
        "--store",
        "etcd=" + ",".join(about.store_url(member) for member in about.store_members),
        "--store-ca",
        str(files.certificate(pki, files.CA)),
        "--store-cert",
        str(files.certificate(pki, _CLIENT)),
        "--store-key",
        str(files.key(pki, _CLIENT)),
    ]


def _pki(layout: Layout, about: Description) -> Path:
    return layout.root(about.store_members[0])


def _certificates(layout: Layout, about: Description) -> None:
    """Make those that are missing; the CA's key is with the first member."""
    from gantry.pki.authority import Authority

    root = _pki(layout, about)
    if files.certificate(root, _CLIENT).exists():
        return
    now = time.time()
    authority = Authority.create(Uuid(str(uuid.uuid4())), "etcd", now)
    authority.save(root)
    for member in about.store_members:
        place = layout.root(member)
        # Members look where others come from, which on loopback is this address.
        issued = authority.issue_store([about.store_address(member), "127.0.0.1"], now)
        files.write(files.certificate(place, files.CA), authority.certificate)
        files.write(files.certificate(place, _MEMBER), issued.certificate)
        files.write(files.key(place, _MEMBER), issued.key)
    client = authority.issue_client("gantry", now)
    files.write(files.key(root, _CLIENT), client.key)
    # Last: it says that all are there.
    files.write(files.certificate(root, _CLIENT), client.certificate)


def _start(layout: Layout, about: Description, member: StoreMember) -> Daemon | None:
    """None where it runs."""
    if processes.find(layout, member, Role.ETCD) is not None:
        return None
    log = layout.log(member, Role.ETCD)
    log.parent.mkdir(parents=True, exist_ok=True)
    root = layout.root(member)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        daemon = spawn(
            _argv(root, about, member),
            inherited=[],
            errors=descriptor,
            environment=processes.environment(root, os.environ),
        )
    finally:
        os.close(descriptor)
    processes.remember(layout.record(member, Role.ETCD), daemon.identity)
    return daemon


def _argv(root: Path, about: Description, member: StoreMember) -> list[str]:
    certificate, key = files.certificate(root, _MEMBER), files.key(root, _MEMBER)
    ca = files.certificate(root, files.CA)
    client, peer = about.store_url(member), about.store_peer_url(member)
    peers = ",".join(f"{one.label}={about.store_peer_url(one)}" for one in about.store_members)
    return [
        _PROGRAM,
        *("--name", member.label, "--data-dir", str(root / "var/lib/etcd")),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", peers, "--initial-cluster-token", str(root.parent)),
        *("--cert-file", str(certificate), "--key-file", str(key)),
        *("--trusted-ca-file", str(ca), "--client-cert-auth"),
        *("--peer-cert-file", str(certificate), "--peer-key-file", str(key)),
        *("--peer-trusted-ca-file", str(ca), "--peer-client-cert-auth"),
        *("--snapshot-count", str(_ENTRIES)),
        *("--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn"),
    ]


async def _answers(layout: Layout, about: Description) -> None:
    from gantry.store.etcd import Access, Patience, open_etcd

    pki = _pki(layout, about)
    access = Access(
        endpoints=tuple(about.store_url(member) for member in about.store_members),
        ca=files.certificate(pki, files.CA),
        certificate=files.certificate(pki, _CLIENT),
        key=files.key(pki, _CLIENT),
    )
    store = await open_etcd(access, patience=Patience(whole=timeouts.CLIENT_READ))
    await store.close()
