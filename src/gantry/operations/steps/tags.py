"""What the two operations on tags share: the object, its lock, the plan and putting it down."""

from __future__ import annotations

import enum
from typing import ClassVar

from gantry.model import locks
from gantry.model.entities import AnyEntity, Cluster, Group, Instance, Node
from gantry.model.errors import Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Operation, Plan
from gantry.operations.steps.checks import changed
from gantry.ports.steps import Outcome, Steps


class TagKind(enum.StrEnum):
    """What has tags, in Ganeti's words."""

    CLUSTER = "cluster"
    GROUP = "nodegroup"
    NODE = "node"
    INSTANCE = "instance"


class TagsPlan(Plan, frozen=True, kw_only=True):
    """The object's tags as they will be; ``before`` is rebuilt from its kind."""

    kind: TagKind
    uuid: Uuid
    tags: tuple[str, ...]
    cluster: Cluster | None = None
    group: Group | None = None
    node: Node | None = None
    instance: Instance | None = None

    @property
    def before(self) -> AnyEntity:
        """The object as it was."""
        entity = self.cluster or self.group or self.node or self.instance
        assert entity is not None
        return entity


def plan(kind: TagKind, entity: AnyEntity, tags: tuple[str, ...]) -> TagsPlan:
    """The plan, with the object in the field of its type."""
    return TagsPlan(
        kind=kind,
        uuid=entity.uuid,
        tags=tags,
        cluster=entity if isinstance(entity, Cluster) else None,
        group=entity if isinstance(entity, Group) else None,
        node=entity if isinstance(entity, Node) else None,
        instance=entity if isinstance(entity, Instance) else None,
    )


def find(kind: TagKind, name: str | None, cluster: Snapshot) -> AnyEntity:
    """The object, or Rejected."""
    if kind is TagKind.CLUSTER:
        return cluster.cluster
    if not name:
        raise Rejected(f"the name of the {kind} is missing")
    match kind:
        case TagKind.GROUP:
            return cluster.group(name)
        case TagKind.NODE:
            return cluster.node(name)
        case TagKind.INSTANCE:
            return cluster.instance(name)


def lock(kind: TagKind, entity: AnyEntity) -> Needs:
    """The object exclusively, the cluster shared."""
    match kind:
        case TagKind.CLUSTER:
            return Needs.of(exclusive=[locks.CLUSTER])
        case TagKind.GROUP:
            own = locks.group(entity.uuid)
        case TagKind.NODE:
            own = locks.node(entity.uuid)
        case TagKind.INSTANCE:
            own = locks.instance(entity.uuid)
    return Needs.of(shared=[locks.CLUSTER], exclusive=[own])


class TagsOperation(Operation[TagsPlan], frozen=True, kw_only=True):
    """Either of the two; which tags there will be, each says itself."""

    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = TagsPlan

    kind: TagKind
    tags: tuple[str, ...]
    name: str | None = None

    def needs(self, cluster: Snapshot) -> Needs:
        return lock(self.kind, find(self.kind, self.name, cluster))

    async def run(self, plan: TagsPlan, steps: Steps) -> Outcome:
        if plan.tags == plan.before.tags:
            return Outcome()
        return Outcome(put=(changed(plan.before, steps.now, tags=plan.tags),))
