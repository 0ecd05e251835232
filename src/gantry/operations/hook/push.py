"""Put a bundle of hooks onto nodes: ``gnt-hook push``, ``gnt-hook rollback``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.bundles import HOOKS
from gantry.operations.steps.distribution import Push


class HookPush(Push, frozen=True, kw_only=True):
    """See ``Push``."""

    opcode: ClassVar[str] = "OP_HOOK_PUSH"

    def summary(self) -> str:
        return f"HOOK_PUSH({self.said()})"

    @property
    def target(self) -> str:
        """The hooks."""
        return HOOKS
