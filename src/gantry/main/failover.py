"""``gnt-cluster master-failover --from-copy``: this node goes on with a copy of the state.

For when the master is dead for good and its state was in a file. It says what the copy does not
know, as far as the agents that answer know it, and asks before it does anything.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import configuration as agent_configuration
from gantry.agent.succession import COPIES, set_aside, waits, wake
from gantry.cli import errors
from gantry.cli.cluster import master_failover as command
from gantry.cli.confirm import ask
from gantry.cli.program import parser_of
from gantry.cli.programs import PROGRAMS
from gantry.client.connection import Connection
from gantry.client.errors import ApiError, ClientError
from gantry.jobs import from_copy
from gantry.jobs.election import LEAP, ask_all, replaced_by
from gantry.jobs.from_copy import Known
from gantry.jobs.handback import take_back
from gantry.jobs.recovery import read_snapshot
from gantry.main import store as stores
from gantry.main.bell import runs
from gantry.main.bootstrap import root_directory, to_stderr
from gantry.main.credentials import files_of
from gantry.model import timeouts
from gantry.model.entities import AdminState
from gantry.model.errors import GantryError, OperationFailed, Reason, Rejected, Unavailable
from gantry.model.live import GuestLive
from gantry.model.master_orders import MasterSeen
from gantry.model.names import Uuid
from gantry.model.orders import ReadGuests
from gantry.model.snapshot import Snapshot
from gantry.pki import files as certificates
from gantry.ports.agents import Address
from gantry.ports.store import StoreLocked
from gantry.rpc.client import HttpAgents
from gantry.store import backup
from gantry.store.sqlite import open_sqlite
from gantry.store.sqlite.lock import FileLock
from gantry.supervision.supervisor import addresses

_PATIENCE: Final = 3.0
_LISTED: Final = 10


class Source(msgspec.Struct, frozen=True):
    """A copy, or this node's own state where it could not be handed over."""

    state: Path
    history: Path
    taken: float | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the copy knows, and what the agents that answer know."""

    source: Source
    cluster: Snapshot
    known: Known
    seen: dict[Uuid, MasterSeen]
    guests: dict[Uuid, tuple[GuestLive, ...]]


def main(argv: Sequence[str]) -> int:
    """Parse, say what would be lost, ask, do it; the exit status."""
    program, name = "gnt-cluster", "master-failover"
    arguments = parser_of(program, name, PROGRAMS[program][name], command).parse(argv)
    arguments.program, arguments.command = program, name
    try:
        told = asyncio.run(_run(root_directory(), arguments.yes_do_it, arguments.json))
    except GantryError as error:
        info = {"code": error.code, "message": error.message, "hint": error.hint}
        text = json.dumps({"error": info}) if arguments.json else errors.failure(info)
        sys.stderr.write(text + "\n")
        return errors.FAILURE
    except (errors.Usage, errors.Declined) as error:
        return errors.report(error, arguments.json)
    if arguments.json:
        sys.stdout.write(json.dumps(told) + "\n")
    return 0


async def _run(root: Path, sure: bool, as_json: bool) -> dict[str, object]:
    here = _check(root)
    (await unused(root)).release()
    work = root / COPIES / "taking-over.sqlite"
    try:
        found = await chosen(root, here, partial(_look, root, here, work))
        lost = losses(found, time.time())
        for line in lost if not as_json else ():
            to_stderr(line)
        ask("Make this node the master with that copy?", sure, "--yes-do-it")
        await _take(root, here, found, work)
    finally:
        for suffix in ("", "-wal", "-shm", ".lock"):
            work.with_name(work.name + suffix).unlink(missing_ok=True)
    name = found.cluster.nodes[here].name
    started = runs(root)
    if started:
        await _serves(root)
    if not as_json:
        how = "now" if started else "once it is started: systemctl start gantry-master"
        to_stderr(f"node {name} is the master {how}; then see gnt-cluster verify")
    return {"master": name, "lost": lost}


def _check(root: Path) -> Uuid:
    configuration = agent_configuration.read(root)
    if stores.kind(root) is not stores.StoreKind.SQLITE:
        raise Rejected(
            "the state is in etcd, of which there are no copies to take",
            "another candidate takes over by itself; see gnt-cluster getmaster",
            reason=Reason.STATE,
        )
    needed = [certificates.key(root, name) for name in (certificates.CA, certificates.MASTER)]
    if not all(path.exists() for path in needed):
        raise Rejected(
            f"node {configuration.name} is no master candidate: it has no key of the master",
            "type it on a candidate: see ssconf_master_candidates in /var/lib/ganeti",
            reason=Reason.STATE,
        )
    try:
        Connection(str(root), patient=False).get("info")
    except (ApiError, ClientError):
        return configuration.node
    raise Rejected(
        "the master answers: it need not be replaced by a copy of its state",
        "move it in an orderly way: gnt-cluster master-failover",
        reason=Reason.STATE,
    )


async def unused(root: Path) -> FileLock:
    """Keep masters away from the state of this node; StoreLocked where one has it open.

    A master that hangs, and wakes up after its state was replaced, would go on with a file that
    nobody reads again. One that hands its state over opens it for a moment now and then.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return FileLock(root / stores.STATE, exclusive=True)
        except StoreLocked:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(timeouts.MASTER_LOOK)


async def chosen(root: Path, here: Uuid, look: Callable[[Source], Awaitable[Found]]) -> Found:
    """What to go on with, looked at by ``look``.

    This node's own state is newer than any copy, but where agents know of a master elsewhere
    that came after it. Then, or without one, it is the newest copy that is whole.
    """
    own = root / stores.STATE
    if own.exists():
        found = await look(Source(own, own.with_name("history.db"), None))
        later = replaced_by(here, found.known.epoch, found.seen)
        if later is None:
            return found
        node = found.cluster.nodes.get(later[1])
        to_stderr(
            f"node {node.name if node else later[1]} has been master since this node was: {own} is "
            "older than what was lost, and is not used"
        )
    return await look(await asyncio.to_thread(_copy, root))


def _copy(root: Path) -> Source:
    for copy in backup.list_backups(root / COPIES):
        try:
            backup.verify(copy.file)
        except backup.BackupDamaged as error:
            to_stderr(f"{error.message}; trying an older one")
            continue
        history = copy.file.with_name(copy.file.name.replace("state-", "history-", 1))
        return Source(copy.file, history, copy.record.taken.timestamp())
    raise Rejected(
        f"there is no copy of the state in {root / COPIES}",
        "bring one from another candidate, or a backup: gantry state restore",
        reason=Reason.UNKNOWN,
    )


def _duplicate(source: Path, work: Path) -> None:
    # No copy may ever have come here, where the state was brought back by hand.
    work.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work.unlink(missing_ok=True)
    backup.copy_database(source, work)


async def _look(root: Path, here: Uuid, work: Path, source: Source) -> Found:
    await asyncio.to_thread(_duplicate, source.state, work)
    store = await open_sqlite(work, create=False)
    try:
        cluster, known = await read_snapshot(store), await from_copy.known(store)
    finally:
        await store.close()
    if here not in cluster.nodes:
        raise Rejected("the copy does not know this node", "use another candidate's")
    agents = HttpAgents(files_of(root, certificates.MASTER), cluster.cluster.uuid, here)
    nodes = list(addresses(cluster))
    try:
        seen = await ask_all(agents, nodes, _PATIENCE)
        guests = await _guests(agents, [one for one in nodes if one.node in seen])
    finally:
        await agents.close()
    return Found(source=source, cluster=cluster, known=known, seen=seen, guests=guests)


async def _guests(
    agents: HttpAgents, nodes: Sequence[Address]
) -> dict[Uuid, tuple[GuestLive, ...]]:
    async def one(to: Address) -> tuple[GuestLive, ...]:
        try:
            return (await agents.ask(to, ReadGuests(), _PATIENCE)).guests
        except GantryError:
            return ()

    found = await asyncio.gather(*map(one, nodes))
    return {to.node: guests for to, guests in zip(nodes, found, strict=True)}


def losses(found: Found, now: float) -> list[str]:
    """What the operator has to know before this copy becomes the state, a line each."""
    cluster, seen = found.cluster, found.seen
    lines = [_age(found.source, now)]
    silent = sorted(
        node.name for node in cluster.nodes.values() if node.uuid not in seen and not node.offline
    )
    if silent:
        lines.append(f"nodes that do not answer, so that nothing is known of them: {_some(silent)}")
    master = cluster.master
    if master.uuid in seen and found.source.taken is not None:
        lines.append(
            f"the old master's node {master.name} answers: if its disk is well, start its master "
            "process instead, for its state is newer"
        )
    newest = max((each.job for each in seen.values()), default=0)
    if newest > found.known.job:
        first = found.known.job + 1
        which = f"job {first} is" if first == newest else f"jobs {first} to {newest} are"
        lines.append(f"{which} not in the copy: what was changed there is lost")
    if found.known.unfinished:
        numbers = _some([str(number) for number in found.known.unfinished])
        lines.append(f"jobs that had not ended in the copy, and end as failed: {numbers}")
    return lines + _about_guests(found)


def _about_guests(found: Found) -> list[str]:
    cluster = found.cluster
    live = [guest for guests in found.guests.values() for guest in guests]
    unknown = sorted(guest.name for guest in live if guest.uuid not in cluster.instances)
    up = {guest.uuid for guest in live if guest.up}
    started = sorted(
        one.name
        for one in cluster.instances.values()
        if one.admin_state is AdminState.UP
        and one.primary_node in found.guests
        and one.uuid not in up
    )
    lines = []
    if unknown:
        lines.append(
            f"guests that the copy does not know: {_some(unknown)}; they are left as they are, "
            "and are no instances any more"
        )
    if started and cluster.cluster.maintain:
        lines.append(
            f"guests that are down, and that the copy wants up: {_some(started)}; they are started"
        )
    return lines


def _age(source: Source, now: float) -> str:
    if source.taken is None:
        return f"the state is this node's own, {source.state}: nothing of it is lost"
    age = max(0.0, now - source.taken)
    shown = f"{age:.0f} seconds" if age < 120 else f"{age / 60:.0f} minutes"
    return f"the copy is {shown} old ({source.state.name}): what was changed since then is lost"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


async def _take(root: Path, here: Uuid, found: Found, work: Path) -> None:
    """The copy becomes the state, with an epoch above all that anybody knows."""
    highest = max([found.known.epoch, *(each.epoch for each in found.seen.values())])
    job = max([found.known.job, *(each.job for each in found.seen.values())])
    store = await open_sqlite(work, create=False)
    try:
        if found.source.taken is None:
            await from_copy.raise_epoch(store, here, highest + LEAP)
            await take_back(store, found.cluster, here, _taken_back())
        else:
            await from_copy.take_over(
                store, found.cluster, here, epoch=highest + LEAP, job=job, now=time.time()
            )
    finally:
        await store.close()
    lock = await unused(root)
    try:
        await asyncio.to_thread(_place, root, found.source, work)
    finally:
        lock.release()
    wake(root)


def _taken_back() -> GantryError:
    return OperationFailed("the operator took the state back: the other node had not taken it")


def _place(root: Path, source: Source, work: Path) -> None:
    state = root / stores.STATE
    if source.taken is not None and source.history.exists():
        history = state.with_name("history.db")
        set_aside(history, "replaced")
        shutil.copyfile(source.history, history)
        history.chmod(0o600)
    set_aside(state, "replaced")
    work.replace(state)


async def _serves(root: Path) -> None:
    """Until the master on this node answers."""
    deadline = time.monotonic() + timeouts.CLIENT_READ
    while time.monotonic() < deadline:
        if not waits(root):
            try:
                await asyncio.to_thread(Connection(str(root), patient=False).get, "info")
                return
            except (ApiError, ClientError):
                pass
        await asyncio.sleep(timeouts.MASTER_LOOK)
    raise Unavailable(
        "the master of this node does not answer yet",
        "see /var/log/gantry/master.log, and systemctl status gantry-master",
    )
