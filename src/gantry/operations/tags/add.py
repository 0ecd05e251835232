"""Add tags to an object: ``gnt-… add-tags``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.errors import Rejected
from gantry.model.names import MAX_TAGS, tag
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given
from gantry.operations.steps.tags import TagsOperation, TagsPlan, find, plan


class TagsAdd(TagsOperation, frozen=True, kw_only=True):
    """Tags that are there already stay as they are."""

    opcode: ClassVar[str] = "OP_TAGS_SET"

    def summary(self) -> str:
        return f"TAGS_SET({self.name or self.kind})"

    def check(self, cluster: Snapshot, given: Given) -> TagsPlan:
        entity = find(self.kind, self.name, cluster)
        tags = tuple(sorted({*entity.tags, *(tag(one) for one in self.tags)}))
        if len(tags) > MAX_TAGS:
            raise Rejected(f"{entity.name} would have more than {MAX_TAGS} tags")
        return plan(self.kind, entity, tags)
