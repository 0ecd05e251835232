"""The whole cluster at one revision, immutable: what operations decide upon.

A commit makes a new snapshot that shares all that did not change. Live states are in it,
so that a decision is a function of one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from gantry.model.entities import (
    AdminState,
    AnyEntity,
    Bundle,
    Cluster,
    Group,
    Instance,
    Joined,
    Mirror,
    Node,
    Rollout,
    Token,
    Webhook,
)
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.live import UNKNOWN, GuestLive, NodeLive
from gantry.model.names import Uuid
from gantry.model.parameters import memory

N = TypeVar("N", Group, Node, Instance)
E = TypeVar("E", Node, Instance)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Resources of a node that a running job counts on (MiB), before they show elsewhere."""

    node: Uuid
    memory: int = 0
    disk: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The entities by uuid, the name indexes, the live states and the claims of running jobs.

    ``promised`` are the MiB by node that instances marked as to be up count on, ``macs`` who has
    which MAC address. These and the names are kept from one commit to the next: to go through
    10,000 instances takes longer than all else in a check.
    """

    revision: int
    cluster: Cluster
    groups: Mapping[Uuid, Group]
    nodes: Mapping[Uuid, Node]
    instances: Mapping[Uuid, Instance]
    node_names: Mapping[str, Uuid]
    instance_names: Mapping[str, Uuid]
    mirrors: Mapping[Uuid, Mirror] = {}
    """By the uuid of the disk."""
    macs: Mapping[str, Uuid] = {}
    promised: Mapping[Uuid, int] = {}
    tokens: Mapping[Uuid, Token] = {}
    joined: Mapping[Uuid, Joined] = {}
    bundles: Mapping[Uuid, Bundle] = {}
    rollouts: Mapping[Uuid, Rollout] = {}
    webhooks: Mapping[Uuid, Webhook] = {}
    live: Mapping[Uuid, NodeLive] = {}
    claims: tuple[Claim, ...] = ()
    reserved: frozenset[str] = frozenset()
    """What running jobs have reserved: ``name/…``, ``mac/…``, ``ip/…``, ``port/…``."""
    doubtful: frozenset[tuple[Uuid, Uuid]] = frozenset()
    """Guests and the nodes that are still owed the order to end them: they may run there."""

    def node(self, name: str) -> Node:
        """The node called ``name`` (or its unambiguous beginning, or its uuid); or Rejected."""
        return _find(name, self.nodes, self.node_names, "node", "gnt-node list")

    def instance(self, name: str) -> Instance:
        """The instance called ``name`` (or its unambiguous beginning, or its uuid); or Rejected."""
        return _find(name, self.instances, self.instance_names, "instance", "gnt-instance list")

    def group(self, name: str) -> Group:
        """The group called ``name``, or Rejected."""
        names = {group.name: uuid for uuid, group in self.groups.items()}
        return _find(name, self.groups, names, "group", "gnt-group list")

    @property
    def master(self) -> Node:
        """The master node."""
        return self.nodes[self.cluster.master_node]

    def node_live(self, uuid: Uuid) -> NodeLive:
        """The node's live state; ``UNKNOWN`` where none came yet."""
        return self.live.get(uuid, UNKNOWN)

    def guest(self, instance: Instance) -> GuestLive | None:
        """The instance's guest on its primary node, if that node knows one."""
        return self.node_live(instance.primary_node).guests.get(instance.uuid)

    def may_run(self, guest: Uuid, node: Uuid) -> list[Node]:
        """The nodes but ``node`` that may run the guest, as an order to end it is still owed.

        Of a node that is marked offline the operator has said that it does not.
        """
        found = (self.nodes.get(where) for one, where in self.doubtful if one == guest)
        doubted = [one for one in found if one and one.uuid != node and not one.offline]
        return sorted(doubted, key=lambda one: one.name)

    def instances_of(self, node: Uuid) -> list[Instance]:
        """The instances whose primary node it is."""
        return [one for one in self.instances.values() if one.primary_node == node]

    def instances_by_node(self) -> dict[Uuid, list[Instance]]:
        """The same for all nodes that have some, in one go through all instances."""
        found: dict[Uuid, list[Instance]] = {}
        for one in self.instances.values():
            found.setdefault(one.primary_node, []).append(one)
        return found

    def free_memory(self, node: Uuid) -> int | None:
        """MiB that new guests may count on; None where the node has not said.

        Counted from the records, not from what the guests have touched so far: total, less
        what the node uses itself, less all instances that should be up, less claims.
        """
        live = self.node_live(node)
        if live.facts is None:
            return None
        promised = self.promised.get(node, 0)
        claimed = sum(claim.memory for claim in self.claims if claim.node == node)
        return live.facts.memory_total - live.facts.memory_node - promised - claimed

    def free_disk(self, node: Uuid) -> int | None:
        """MiB free in the file storage directory, less claims; None where not known."""
        facts = self.node_live(node).facts
        if facts is None:
            return None
        return facts.disk_free - sum(claim.disk for claim in self.claims if claim.node == node)

    def with_changes(
        self, revision: int, put: Iterable[AnyEntity], delete: Iterable[AnyEntity] = ()
    ) -> Snapshot:
        """The snapshot after a commit."""
        tables: dict[type, dict[Uuid, AnyEntity]] = {}

        def table(kind: type) -> dict[Uuid, AnyEntity]:
            if kind not in tables:
                tables[kind] = dict(getattr(self, _TABLES[kind]))
            return tables[kind]

        cluster = self.cluster
        put, delete = tuple(put), tuple(delete)
        for gone in delete:
            table(type(gone)).pop(gone.uuid, None)
        for entity in put:
            if isinstance(entity, Cluster):
                cluster = entity
            else:
                table(type(entity))[entity.uuid] = entity
        fields: dict[str, Any] = {_TABLES[kind]: entities for kind, entities in tables.items()}
        after = msgspec.structs.replace(self, revision=revision, cluster=cluster, **fields)
        changed = dict.fromkeys(one.uuid for one in (*delete, *put))
        return msgspec.structs.replace(
            after,
            promised=after._promised_since(self, changed),
            node_names=_index(self.node_names, self.nodes, after.nodes, changed, _name),
            instance_names=_index(
                self.instance_names, self.instances, after.instances, changed, _name
            ),
            macs=_index(self.macs, self.instances, after.instances, changed, _macs),
        )

    def _promised_since(self, before: Snapshot, changed: Iterable[Uuid]) -> Mapping[Uuid, int]:
        """What is promised, known that only ``changed`` are not as they were."""
        if before.cluster.beparams != self.cluster.beparams:
            return _promised(self.cluster, self.instances)
        if before.instances is self.instances:
            return before.promised
        promised = dict(before.promised)
        for uuid in changed:
            for one, sign in ((before.instances.get(uuid), -1), (self.instances.get(uuid), 1)):
                if one is not None and one.admin_state is AdminState.UP:
                    now = promised.get(one.primary_node, 0)
                    promised[one.primary_node] = now + sign * memory(self.cluster, one)
        return {node: amount for node, amount in promised.items() if amount}


_TABLES: Final[dict[type, str]] = {
    Group: "groups",
    Node: "nodes",
    Instance: "instances",
    Mirror: "mirrors",
    Token: "tokens",
    Joined: "joined",
    Bundle: "bundles",
    Rollout: "rollouts",
    Webhook: "webhooks",
}


def build(
    revision: int, entities: Iterable[AnyEntity], live: Mapping[Uuid, NodeLive] | None = None
) -> Snapshot:
    """A snapshot of these entities; GantryError where the cluster itself is not among them."""
    tables: dict[str, Any] = {name: {} for name in _TABLES.values()}
    cluster: Cluster | None = None
    for entity in entities:
        if isinstance(entity, Cluster):
            cluster = entity
        else:
            tables[_TABLES[type(entity)]][entity.uuid] = entity
    if cluster is None:
        raise GantryError(
            "the store holds no cluster",
            "make one with gnt-cluster init, or bring one back with gantry state restore",
        )
    return Snapshot(
        revision=revision,
        cluster=cluster,
        **tables,
        node_names=_names(tables["nodes"], _name),
        instance_names=_names(tables["instances"], _name),
        macs=_names(tables["instances"], _macs),
        promised=_promised(cluster, tables["instances"]),
        live=live if live is not None else {},
    )


def _name(entity: Node | Instance) -> tuple[str, ...]:
    return (entity.name,)


def _macs(instance: Instance) -> tuple[str, ...]:
    return tuple(nic.mac for nic in instance.nics)


def _names(table: Mapping[Uuid, E], keys: Callable[[E], tuple[str, ...]]) -> dict[str, Uuid]:
    return {name: uuid for uuid, entity in table.items() for name in keys(entity)}


def _index(
    known: Mapping[str, Uuid],
    before: Mapping[Uuid, E],
    after: Mapping[Uuid, E],
    changed: Iterable[Uuid],
    keys: Callable[[E], tuple[str, ...]],
) -> Mapping[str, Uuid]:
    """Who has which key, known that only ``changed`` are not as they were; the same if none is."""
    if before is after:
        return known
    gone: dict[str, Uuid] = {}
    come: dict[str, Uuid] = {}
    for uuid in changed:
        old = keys(before[uuid]) if uuid in before else ()
        new = keys(after[uuid]) if uuid in after else ()
        if old != new:
            gone.update(dict.fromkeys(old, uuid))
            come.update(dict.fromkeys(new, uuid))
    if not gone and not come:
        return known
    index = dict(known)
    for name, uuid in gone.items():
        if index.get(name) == uuid:
            del index[name]
    index.update(come)
    return index


def _promised(cluster: Cluster, instances: Mapping[Uuid, Instance]) -> dict[Uuid, int]:
    promised: dict[Uuid, int] = {}
    for one in instances.values():
        if one.admin_state is AdminState.UP:
            node = one.primary_node
            promised[node] = promised.get(node, 0) + memory(cluster, one)
    return promised


def _find(
    name: str, table: Mapping[Uuid, N], names: Mapping[str, Uuid], kind: str, listing: str
) -> N:
    wanted = name.strip().rstrip(".").lower()
    uuid = names.get(wanted) or (Uuid(wanted) if wanted in table else None)
    if uuid is None and wanted:
        found = [full for full in names if full.startswith(wanted + ".")] or [
            full for full in names if full.startswith(wanted)
        ]
        if len(found) > 1:
            raise Rejected(
                f"{kind} {name!r} is ambiguous: it may be {', '.join(sorted(found)[:5])}",
                "give more of the name",
                reason=Reason.NOT_UNIQUE,
                object_name=name,
            )
        uuid = names[found[0]] if found else None
    if uuid is None:
        raise Rejected(
            f"there is no {kind} {name!r}",
            f"{listing} shows those that exist",
            reason=Reason.UNKNOWN,
            object_name=name,
        )
    return table[uuid]
