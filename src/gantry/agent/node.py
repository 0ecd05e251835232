"""Orders and questions about the node itself."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Final

from gantry.agent import candidate_files, guests, succession
from gantry.agent.configuration import FILE
from gantry.agent.effect import Task
from gantry.agent.facts import bridges
from gantry.agent.files import DIRECTORY as DATA_DIRECTORY
from gantry.agent.parts import Parts
from gantry.hooks.policy import FILE as POLICY
from gantry.host import command, hook_policy, trusted_program
from gantry.host.listing import DIRECTORY as HOOKS
from gantry.model import names
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import NodeFacts
from gantry.model.orders import (
    Delay,
    Inspect,
    Inspection,
    NodeLeave,
    Nothing,
    ReadFacts,
    ReadGuests,
    Resolve,
    Resolved,
)
from gantry.pki import files as certificates

_PING: Final = 2.0
"""Seconds to wait for a ping's answer."""
_LOOKUP: Final = 10.0
_DEPTHS: Final = ("*", "*/*", "*/*/*")
"""How deep disks lie below a directory for them: INSTANCE/DISK, or with one more before that."""
_WORTH_SAYING: Final = 0.1

_BESIDE: Final = ("replica", "bitmaps")
"""Kinds of hidden files beside a mirrored disk."""


async def delay(parts: Parts, order: Delay, task: Task) -> Nothing:
    """Do nothing for a while; a longer one is said, so that it is seen to have begun."""
    if order.duration >= _WORTH_SAYING:
        task.say(f"waiting {order.duration:g} seconds on {parts.node}")
    await asyncio.sleep(order.duration)
    return Nothing()


async def leave(parts: Parts, order: NodeLeave, task: Task) -> Nothing:
    """Keep nothing of the cluster: no certificate, no key, no ssconf files."""
    if order.cluster != parts.configuration.cluster:
        raise Rejected(
            f"node {parts.node} is of another cluster", reason=Reason.STATE, node=parts.node
        )
    up = [live.name for one in parts.hypervisors.values() for live in one.guests() if live.up]
    if up:
        raise Rejected(
            f"guests are up on node {parts.node}: {', '.join(sorted(up))}",
            "shut them down or move them first",
            reason=Reason.STATE,
            node=parts.node,
        )
    await asyncio.to_thread(_forget_cluster, parts.root)
    parts.leave()
    return Nothing()


def _forget_cluster(root: Path) -> None:
    candidate_files.remove(root)
    (root / FILE).unlink(missing_ok=True)
    gone = [*certificates.directory(root).glob("*node.*"), certificates.certificate(root, "ca")]
    for path in [*gone, *(root / DATA_DIRECTORY).glob("ssconf_*")]:
        path.unlink(missing_ok=True)


async def facts(parts: Parts, question: ReadFacts) -> NodeFacts:
    """The facts, taken now."""
    parts.facts.disturbed()
    return await parts.facts.read()


async def inspect(parts: Parts, question: Inspect) -> Inspection:
    """Everything that cluster verify wants to know."""
    found = await guests.read(parts, ReadGuests())
    now = await parts.facts.read()
    disks, problems = await asyncio.to_thread(_look, parts, question)
    master_files = await asyncio.to_thread(candidate_files.digests, parts.root)
    for name, one in now.hypervisors.items():
        if not one.available:
            problems.append(("ENODEHV", parts.node, f"hypervisor {name}: {one.why}"))
    return Inspection(
        facts=now,
        guests=found.guests,
        oses=now.oses,
        disks=tuple(disks),
        problems=tuple(problems),
        master_files=master_files,
        master_waits=succession.waits(parts.root),
    )


def _record(path: Path) -> bool:
    """Whether it is kept beside a disk that is there: what it says of it as a replica."""
    name, _, kind = path.name.removeprefix(".").rpartition(".")
    return path.name.startswith(".") and kind in _BESIDE and path.with_name(name).exists()


def _look(parts: Parts, question: Inspect) -> tuple[list[str], list[tuple[str, str, str]]]:
    problems: list[tuple[str, str, str]] = []
    disks: list[str] = []
    for name in question.storage_dirs:
        directory = parts.root / names.absolute_path(name, "a storage directory").lstrip("/")
        if directory.is_dir():
            disks += [
                "/" + str(path.relative_to(parts.root))
                for depth in _DEPTHS
                for path in sorted(directory.glob(depth))
                if path.is_file() and not _record(path)
            ]
    for path in question.disks:
        real = parts.root / names.absolute_path(path, "the path of a disk").lstrip("/")
        if not real.is_file():
            problems.append(("EINSTANCEMISSINGDISK", path, f"disk {path} is not on {parts.node}"))
    for path in question.programs:
        real = parts.root / names.absolute_path(path, "an oob_program").lstrip("/")
        complaint = trusted_program.complaint(real)
        if complaint:
            problems.append(("ENODEOOBPATH", path, f"it would not be run: {complaint}"))
    missing = sorted(set(question.bridges) - set(bridges()))
    problems += [("ENODENET", parts.node, f"bridge {bridge} is not there") for bridge in missing]
    problems += [
        (
            "ENODEHOOKS",
            f"/{HOOKS}/{POLICY}",
            (f"line {one.line}: " if one.line else "") + one.message,
        )
        for one in hook_policy.findings(parts.root / HOOKS)
        if one.error
    ]
    return disks, problems


async def resolve(parts: Parts, question: Resolve) -> Resolved:
    """Look a name up; with ``ping``, see whether its address answers."""
    name = names.host_name(question.name, "a name to look up")
    try:
        async with asyncio.timeout(_LOOKUP):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (socket.gaierror, TimeoutError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "no answer in time"
        return Resolved(problem=f"{name} does not resolve on node {parts.node}: {reason}")
    address = str(found[0][4][0])
    answers = await _answers(address) if question.ping else False
    return Resolved(address=address, answers=answers)


async def _answers(address: str) -> bool:
    argv = ["ping", "-n", "-q", "-c", "1", "-W", f"{_PING:.0f}", address]
    try:
        done = await command.run(argv, timeout=2 * _PING, check=False)
    except OperationFailed:
        return False
    return done.status == 0
