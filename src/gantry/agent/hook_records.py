"""Questions about what hook scripts did on this node."""

from __future__ import annotations

import asyncio

from gantry.agent.parts import Parts
from gantry.model.hook_runs import HookRunRecord, KeptRuns, ReadHookRun, ReadHookRuns


async def page(parts: Parts, question: ReadHookRuns) -> KeptRuns:
    """A page of the ledger."""
    return await asyncio.to_thread(parts.ledger.page, question)


async def record(parts: Parts, question: ReadHookRun) -> HookRunRecord:
    """One run with its output."""
    return await asyncio.to_thread(parts.ledger.record, question.id)
