"""Running the hook scripts of a phase on all of its nodes; what they are told is ``hooks``'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gantry.hooks.subject import Subject
from gantry.model.names import Uuid
from gantry.model.orders import HooksRun
from gantry.operations.base import NodeScripts

if TYPE_CHECKING:
    from gantry.jobs.attempt import Attempt


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """The scripts of one phase, by node, and the subject they are about."""

    hooked: bool = False
    subject: Subject | None = None
    nodes: tuple[tuple[Uuid, HooksRun], ...] = ()


def before(attempt: Attempt) -> Runs:
    """What runs before the operation."""
    return Runs()


async def run_before(attempt: Attempt) -> None:
    """Run the pre scripts; raises HooksDenied."""


async def run_after(attempt: Attempt) -> tuple[NodeScripts, ...]:
    """Run the post scripts, and those for a changed configuration."""
    return ()
