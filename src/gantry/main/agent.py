"""``gantry agent``: build one node's agent out of its parts and run it until it is told to end.

What the parts do is theirs; here they are put together, started and ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gantry.agent import bundles, watcher
from gantry.agent import configuration as configured
from gantry.agent.active_disks import ActiveDisks
from gantry.agent.configuration import Configuration
from gantry.agent.effects import KEEP, Effects
from gantry.agent.events import Listeners
from gantry.agent.facts import Facts
from gantry.agent.hooks import EXCHANGE
from gantry.agent.ledger import Ledger
from gantry.agent.memory import Memory
from gantry.agent.mirror_peers import NodePeers
from gantry.agent.parts import Parts
from gantry.agent.replica_daemons import ReplicaDaemons
from gantry.agent.transfers import Transfers
from gantry.host import hook_exchange, orphans, process
from gantry.host.daemon import Identity
from gantry.hypervisors.contract import Hypervisor
from gantry.main.daemon import log_to, save_memory, say_ready
from gantry.main.daemon_options import daemon_options
from gantry.model.entities import DiskTemplate
from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestLive, NodeFacts
from gantry.model.names import Uuid
from gantry.osdefs.search import Finder
from gantry.pki import files as certificate_files
from gantry.ports.agents import FactsChanged, GuestChanged
from gantry.rpc import certificates
from gantry.storage.contract import Storage
from gantry.storage.file import FileStorage
from gantry.storage.mirror import MirrorStorage
from gantry.storage.sharedfile import SharedFileStorage

if TYPE_CHECKING:
    from gantry.agent.server import Server

logger = logging.getLogger("gantry.agent")

_PATIENCE: Final = 3.0
"""Seconds that running orders get when the agent is told to end."""
_WARN_BEFORE: Final = 30 * 86400.0


def main(arguments: Sequence[str]) -> int:
    """The sub-command; it ends with SIGTERM."""
    root, ready = daemon_options(
        arguments, "agent", "Run this node's agent. A machine must have joined a cluster first."
    )
    settle()
    configuration = configured.read(root)
    log_to(root / configured.LOG)
    return asyncio.run(_serve(root, configuration, ready))


def settle() -> None:
    """What is the process's own, whatever number of agents it runs."""
    os.umask(0o077)
    os.chdir("/")
    save_memory()
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


def _load_server() -> type[Server]:
    """The HTTP server's code, without what its libraries do first and an agent can spare.

    aiohttp reads all certificates that the system trusts: 80 ms and 2 MB for nothing, since an
    agent trusts its own cluster's CA alone. Its lists that can be frozen, of which there are a
    handful, are written in C++, whose library is another 1.5 MB.
    """
    words = dict.fromkeys(("SSL_CERT_FILE", "SSL_CERT_DIR"), os.devnull)
    words["FROZENLIST_NO_EXTENSIONS"] = "1"
    before = {name: os.environ.get(name) for name in words}
    os.environ.update(words)
    from gantry.agent.server import Server

    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return Server


async def _serve(root: Path, configuration: Configuration, ready: int | None) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with opened(root, configuration):
        gc.freeze()
        say_ready(ready)
        await ended.wait()
        logger.info("ending")
    return 0


@contextlib.asynccontextmanager
async def opened(root: Path, configuration: Configuration) -> AsyncIterator[None]:
    """One node's agent, which takes orders until the context is left.

    Several may be open in a process: nothing here belongs to the process as a whole. Rejected
    where the agent cannot serve.
    """
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        memory = Memory(root / configured.DATABASE)
        stack.callback(memory.close)
        effects = Effects(memory, configuration.name)
        await _recover(root, memory, effects)
        await asyncio.to_thread(bundles.recover, root)
        parts = await _parts(root, configuration, effects, memory, stack)
        server = _load_server()(parts, effects)
        stack.push_async_callback(server.close)
        await server.open(_tls(root))
        follow = loop.create_task(_follow(parts))
        prune = loop.create_task(_prune(memory, parts.ledger))
        watch = loop.create_task(watcher.follow(root, memory))
        logger.info(
            "ready node=%s address=%s port=%d epoch=%d",
            configuration.name,
            configuration.host,
            configuration.port,
            memory.epoch,
        )
        try:
            yield
        finally:
            await effects.close(_PATIENCE)
            for task in (follow, prune, watch):
                task.cancel()
            await asyncio.gather(follow, prune, watch, return_exceptions=True)


async def _recover(root: Path, memory: Memory, effects: Effects) -> None:
    """End the scripts and programs that an earlier agent left, before anything is accepted."""
    noted = [Identity(pid, started) for pid, started in memory.scripts()]
    # First: one of them may be just about to start a script (``gantry.host.spawner``).
    ended = await asyncio.to_thread(process.end_orphans, noted)
    # Agents of other nodes may be on this machine, with scripts of the same run.
    markers = [
        (marker, f"GANTRY_ROOT={root}") if marker.startswith("GANTRY_") else (marker,)
        for marker in memory.markers()
    ]
    if markers:
        # A script that had just been started when we were killed is in no record.
        left = await asyncio.to_thread(orphans.marked, markers)
        ended += await asyncio.to_thread(process.end_orphans, left)
    if ended:
        logger.warning("ended programs left by an earlier agent: %d", len(ended))
    # What they were told and what they would have answered is of no use any more.
    await asyncio.to_thread(hook_exchange.clear, str(root / EXCHANGE))
    effects.recover()


async def _parts(
    root: Path,
    configuration: Configuration,
    effects: Effects,
    memory: Memory,
    stack: contextlib.AsyncExitStack,
) -> Parts:
    listeners = Listeners()

    def changed(guest: GuestLive) -> None:
        listeners.tell(GuestChanged(guest=guest))

    mirrored = MirrorStorage(root, configuration.storage_directories)
    hypervisors = await _hypervisors(root, configuration, mirrored, changed, stack)
    finder = Finder(root)
    certificate = certificate_files.certificate(root, certificate_files.NODE)
    facts = Facts(
        root,
        hypervisors,
        finder,
        configuration.storage_directories[0],
        certificates.expiry(certificate),
        configuration.resources,
        functools.partial(bundles.current, root),
    )
    ledger = Ledger(root, configuration.name, configuration.hook_records)
    stack.callback(ledger.close)
    await asyncio.to_thread(ledger.recover)
    transfers = Transfers(root, memory)
    transfers.clear()
    stack.push_async_callback(transfers.close)
    replicas = ReplicaDaemons(root, configuration.name, mirrored)
    stack.push_async_callback(replicas.close)
    await replicas.open()

    def known(uuid: Uuid) -> GuestLive | None:
        found = (guest for one in hypervisors.values() for guest in one.guests())
        return next((guest for guest in found if guest.uuid == uuid), None)

    peers = NodePeers(root, configuration.cluster)
    active = ActiveDisks(root, mirrored, peers, known, listeners.tell)
    stack.push_async_callback(active.close)
    await active.open()
    return Parts(
        root=root,
        configuration=configuration,
        hypervisors=hypervisors,
        storages=await asyncio.to_thread(_storages, root, configuration, mirrored),
        finder=finder,
        facts=facts,
        listeners=listeners,
        seen=lambda: effects.seen,
        ledger=ledger,
        transfers=transfers,
        replicas=replicas,
        active=active,
        leave=effects.leave,
    )


async def _hypervisors(
    root: Path,
    configuration: Configuration,
    mirrored: MirrorStorage,
    changed: Callable[[GuestLive], None],
    stack: contextlib.AsyncExitStack,
) -> dict[str, Hypervisor]:
    """The node's drivers, by name; each has found its guests again."""
    opened: dict[str, Hypervisor] = {}
    for name in configuration.hypervisors:
        opened[name] = _hypervisor(name, root, configuration, mirrored)
        await opened[name].open(changed)
        stack.push_async_callback(opened[name].close)
    return opened


def _storages(
    root: Path, configuration: Configuration, mirrored: MirrorStorage
) -> dict[DiskTemplate, Storage]:
    shared = configuration.shared_storage_directories
    files = FileStorage(root, configuration.storage_directories)
    try:
        # Not those of a shared directory: other nodes' agents may be at work there.
        for path in files.tidy():
            logger.warning("deleted %s, which an agent that was ended left half done", path)
    except OSError as error:
        logger.warning("cannot look for what was left half done: %s", error)
    return {
        DiskTemplate.FILE: files,
        DiskTemplate.SHAREDFILE: SharedFileStorage(root, shared),
        DiskTemplate.MIRROR: mirrored,
    }


def _hypervisor(
    name: str, root: Path, configuration: Configuration, mirrored: MirrorStorage
) -> Hypervisor:
    # Each driver is loaded only where it is used: qemu.qmp costs memory.
    if name == "kvm":
        from gantry.hypervisors.kvm import Kvm
        from gantry.hypervisors.kvm.mirrored import Means
        from gantry.network.taps import BridgedTaps

        peers = NodePeers(root, configuration.cluster)
        means = Means(replicas=mirrored, peers=peers)
        return Kvm(root, configuration.name, BridgedTaps(), means)
    if name == "fake":
        from gantry.hypervisors.fake import Fake

        return Fake(root, mirrored)
    raise Rejected(f"there is no hypervisor {name}", reason=Reason.ENVIRONMENT)


def _tls(root: Path) -> ssl.SSLContext:
    files = certificates.Files(
        ca=certificate_files.certificate(root, certificate_files.CA),
        certificate=certificate_files.certificate(root, certificate_files.NODE),
        key=certificate_files.key(root, certificate_files.NODE),
    )
    context = certificates.server_context(files)
    for path, whose in ((files.certificate, "this node"), (files.ca, "the cluster's CA")):
        ends = certificates.expiry(path)
        if ends < time.time():
            # It goes on: the master then says the same, and the guests are still looked after.
            logger.error("%s", certificates.expired(whose, ends).message)
        elif ends < time.time() + _WARN_BEFORE:
            logger.warning(
                "the certificate of %s expires at %s", whose, certificates.in_words(ends)
            )
    return context


async def _follow(parts: Parts) -> None:
    def changed(facts: NodeFacts) -> None:
        parts.listeners.tell(FactsChanged(facts=facts))

    await parts.facts.follow(changed)


async def _prune(memory: Memory, ledger: Ledger) -> None:
    """Forget old effects and old runs of hooks, once a day."""
    while True:
        memory.prune(time.time() - KEEP)
        await asyncio.to_thread(ledger.prune, time.time())
        await asyncio.sleep(86400.0)
