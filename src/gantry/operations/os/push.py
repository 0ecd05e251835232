"""Put a version of an OS definition onto nodes: ``gnt-os push``, ``gnt-os rollback``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model import bundles
from gantry.operations.steps.distribution import Push


class OsPush(Push, frozen=True, kw_only=True):
    """See ``Push``; ``os_name`` is the definition's, without a variant."""

    opcode: ClassVar[str] = "OP_OS_PUSH"

    os_name: str

    def summary(self) -> str:
        return f"OS_PUSH({self.os_name},{self.said()})"

    @property
    def target(self) -> str:
        """The definition of that name."""
        return bundles.of_os(self.os_name)
