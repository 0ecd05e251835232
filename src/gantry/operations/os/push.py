"""Put a version of an OS definition onto nodes: ``gnt-os push``, ``gnt-os rollback``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model import bundles
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner
from gantry.operations.steps.distribution import Push, PushPlan, some


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

    async def examine(self, plan: PushPlan, cluster: Snapshot, ask: Examiner) -> PushPlan:
        if plan.number == 0:
            using = sorted(
                one.name
                for one in cluster.instances.values()
                if one.os.partition("+")[0] == self.os_name and one.primary_node in plan.nodes
            )
            if using:
                ask.warn(
                    f"{some(using)} have OS {self.os_name}: unless these nodes have another one "
                    "of that name, they cannot be reinstalled, and not be exported or imported "
                    "by its scripts"
                )
        return await super().examine(plan, cluster, ask)
