"""Remove tags from an object: ``gnt-… remove-tags``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.errors import Reason, Rejected
from gantry.model.names import tag
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given
from gantry.operations.steps.tags import TagsOperation, TagsPlan, find, plan


class TagsRemove(TagsOperation, frozen=True, kw_only=True):
    """Rejected where the object has not all of them."""

    opcode: ClassVar[str] = "OP_TAGS_DEL"

    def summary(self) -> str:
        return f"TAGS_DEL({self.name or self.kind})"

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
