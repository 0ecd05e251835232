"""Add tags to an object: ``gnt-… add-tags``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.errors import Rejected
from gantry.model.locks import Needs
from gantry.model.names import MAX_TAGS, tag
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps.checks import changed
from gantry.operations.steps.tags import TagKind, TagsPlan, find, lock, plan
from gantry.ports.steps import Outcome, Steps


class TagsAdd(Operation[TagsPlan], frozen=True, kw_only=True):
    """Tags that are there already stay as they are."""

    opcode: ClassVar[str] = "OP_TAGS_SET"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = TagsPlan

    kind: TagKind
    tags: tuple[str, ...]
    name: str | None = None

    def summary(self) -> str:
        return f"TAGS_SET({self.name or self.kind})"

    def needs(self, cluster: Snapshot) -> Needs:
        return lock(self.kind, find(self.kind, self.name, cluster))

    def check(self, cluster: Snapshot, given: Given) -> TagsPlan:
        entity = find(self.kind, self.name, cluster)
        tags = tuple(sorted({*entity.tags, *(tag(one) for one in self.tags)}))
        if len(tags) > MAX_TAGS:
            raise Rejected(f"{entity.name} would have more than {MAX_TAGS} tags")
        return plan(self.kind, entity, tags)

    async def run(self, plan: TagsPlan, steps: Steps) -> Outcome:
        if plan.tags == plan.before.tags:
            return Outcome()
        return Outcome(put=(changed(plan.before, steps.now, tags=plan.tags),))
