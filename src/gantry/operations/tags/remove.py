"""Remove tags from an object: ``gnt-… remove-tags``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import tag
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps.checks import changed
from gantry.operations.steps.tags import TagKind, TagsPlan, find, lock, plan
from gantry.ports.steps import Outcome, Steps


class TagsRemove(Operation[TagsPlan], frozen=True, kw_only=True):
    """Rejected where the object has not all of them."""

    opcode: ClassVar[str] = "OP_TAGS_DEL"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = TagsPlan

    kind: TagKind
    tags: tuple[str, ...]
    name: str | None = None

    def summary(self) -> str:
        return f"TAGS_DEL({self.name or self.kind})"

    def needs(self, cluster: Snapshot) -> Needs:
        return lock(self.kind, find(self.kind, self.name, cluster))

    def check(self, cluster: Snapshot, given: Given) -> TagsPlan:
        entity = find(self.kind, self.name, cluster)
        unwanted = {tag(one) for one in self.tags}
        missing = sorted(unwanted - set(entity.tags))
        if missing:
            raise Rejected(
                f"{entity.name} has no tag {', '.join(missing)}",
                reason=Reason.UNKNOWN,
                object_name=entity.name,
            )
        tags = tuple(one for one in entity.tags if one not in unwanted)
        return plan(self.kind, entity, tags)

    async def run(self, plan: TagsPlan, steps: Steps) -> Outcome:
        if plan.tags == plan.before.tags:
            return Outcome()
        return Outcome(put=(changed(plan.before, steps.now, tags=plan.tags),))
