"""OS definitions: looking at them, checking parameters, installing an instance."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model import names
from gantry.model.orders import Nothing, OsCreate, OsDiagnose, OsList, OsRename, OsRun, OsVerify
from gantry.model.os_texts import OsTexts, ReadOsTexts
from gantry.osdefs.create import create as run_create
from gantry.osdefs.logged import Care
from gantry.osdefs.rename import rename as run_rename
from gantry.osdefs.texts import read as read_texts
from gantry.osdefs.verify import verify as run_verify
from gantry.storage.raw_view import raw_view

LOGS: Final = "var/log/ganeti/os"


def care(parts: Parts, task: Task) -> Care:
    """How a script is looked after that an order runs."""
    return Care(
        log_directory=parts.root / LOGS,
        progress=task.say,
        on_started=task.started,
        timeout=task.envelope.timeout,
    )


@contextlib.asynccontextmanager
async def disks(parts: Parts, run: OsRun, script: str) -> AsyncIterator[list[str]]:
    """The real paths of an instance's disks, as raw files, for one script at a time.

    Rejected where another one, the guest or anybody else works on them.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(disk_use.by_script(parts, run.uuid, run.name, script))
        await disk_use.unattached(parts, run.disks, run.name)
        # What the script writes is no foreign write, and is safe when it has ended.
        await stack.enter_async_context(disk_use.written(parts, run.disks))
        yield [
            await stack.enter_async_context(raw_view(parts.storage(disk), disk))
            for disk in run.disks
        ]


async def create(parts: Parts, order: OsCreate, task: Task) -> Nothing:
    """Install: the scripts see every disk as a raw file, whatever its format."""
    async with disks(parts, order.run, "create") as paths:
        await run_create(
            parts.finder,
            order.run,
            paths,
            care(parts, task),
            reinstall=order.reinstall,
            secrets=task.envelope.secrets,
        )
    parts.facts.disturbed()
    return Nothing()


async def rename(parts: Parts, order: OsRename, task: Task) -> Nothing:
    """Tell the guest's system its new name; the script sees raw files, as ``create`` does."""
    async with disks(parts, order.run, "rename") as paths:
        await run_rename(
            parts.finder,
            order.run,
            paths,
            care(parts, task),
            old_name=names.host_name(order.old_name, "the old name of an instance"),
            secrets=task.envelope.secrets,
        )
    parts.facts.disturbed()
    return Nothing()


async def verify(parts: Parts, question: OsVerify) -> Nothing:
    """Check a definition with these parameters."""
    await run_verify(parts.finder, question, question.secret_parameters)
    return Nothing()


async def texts(parts: Parts, question: ReadOsTexts) -> OsTexts:
    """Files of the definition that counts here, to be compared with another node's."""
    facts = await asyncio.to_thread(parts.finder.lookup, question.name)
    if facts is None:
        return OsTexts()
    return await asyncio.to_thread(read_texts, facts, question.paths)


async def diagnose(parts: Parts, question: OsDiagnose) -> OsList:
    """Look at the definitions again."""
    oses = await asyncio.to_thread(parts.finder.find)
    parts.facts.disturbed()
    return OsList(oses=oses, search_path=parts.finder.search_path)
