"""Questions about the hook scripts that are on this node; nothing is run here."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gantry.agent.hooks import DIRECTORY, check_names
from gantry.agent.parts import Parts
from gantry.host.listing import planned
from gantry.model.hook_files import HookInventory, ReadHookFiles
from gantry.model.hook_orders import HookSequence, ListedHooks, ListedScript, ReadHooks


async def listed(parts: Parts, question: ReadHooks) -> ListedHooks:
    """What each phase would run, in its order."""
    for sequence in question.sequences:
        check_names(parts, sequence.directories)
    return await asyncio.to_thread(listed_below, parts.root, question)


def listed_below(root: Path, question: ReadHooks) -> ListedHooks:
    """The same, of the node with that root."""
    base = root / DIRECTORY

    def scripts(sequence: HookSequence) -> tuple[ListedScript, ...]:
        return tuple(
            ListedScript(
                directory=one.directory,
                script=one.name,
                version=one.version,
                skip=one.skip,
                timeout=one.timeout,
                run_as=one.run_as,
                deny_unreachable=one.deny_unreachable,
                problem=one.problem,
            )
            for one in planned(base, sequence)
        )

    return ListedHooks(sequences=tuple(scripts(one) for one in question.sequences))


async def inventory(parts: Parts, question: ReadHookFiles) -> HookInventory:
    """Everything that is in the directory of hooks."""
    # What it takes to judge scripts is seldom needed, and memory that every agent has.
    from gantry.host.inventory import read

    return await asyncio.to_thread(read, parts.root / DIRECTORY, question.main_version)
