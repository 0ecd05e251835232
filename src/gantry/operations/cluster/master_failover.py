"""Another node becomes the master: ``gnt-cluster master-failover``.

The final commit makes it so: after it the old master does nothing more, and the new one goes on
with this very job, as with one that it found after a crash.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks
from gantry.model.entities import Cluster, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import MasterReady
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks
from gantry.ports.steps import Outcome, Steps


class MasterFailoverPlan(Plan, frozen=True, kw_only=True):
    """The cluster with its new master, and who was it."""

    after: Cluster
    old: Node
    new: Node


class MasterFailover(Operation[MasterFailoverPlan], frozen=True, kw_only=True):
    """``node_name`` must be a candidate that answers and has a master process that waits.

    With ``ignore_offline_nodes`` unset, a candidate that does not answer and is not marked
    offline keeps it from being done: it would not hear of the new master.
    """

    opcode: ClassVar[str] = "OP_MASTER_FAILOVER"
    plan_type: ClassVar[type[Plan]] = MasterFailoverPlan

    node_name: str
    ignore_offline_nodes: bool = False

    def summary(self) -> str:
        return f"MASTER_FAILOVER({self.node_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(shared=[locks.CLUSTER, locks.CANDIDATES], exclusive=[locks.MASTER])

    def check(self, cluster: Snapshot, given: Given) -> MasterFailoverPlan:
        node = cluster.node(self.node_name)
        _may_be_master(cluster, node)
        if not self.ignore_offline_nodes:
            _all_hear(cluster)
        after = checks.changed(cluster.cluster, given.now, master_node=node.uuid)
        return MasterFailoverPlan(after=after, old=cluster.master, new=node)

    def subject(self, plan: MasterFailoverPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.CLUSTER,
            values={"OLD_MASTER": plan.old.name, "NEW_MASTER": plan.new.name},
            extra_nodes=(plan.new.uuid,),
        )

    async def run(self, plan: MasterFailoverPlan, steps: Steps) -> Outcome:
        await steps.do("ready", plan.new.uuid, MasterReady())
        steps.log(f"node {plan.new.name} becomes the master")
        return Outcome(put=(plan.after,), result=plan.new.name)


class TakeoverPlan(Plan, frozen=True, kw_only=True):
    """The cluster, and what is to be told of it."""

    after: Cluster
    old: str
    new: str


class MasterTakeover(Operation[TakeoverPlan], frozen=True, kw_only=True):
    """A new master tells that it has taken over by itself; nobody was there to be asked."""

    opcode: ClassVar[str] = "OP_MASTER_TAKEOVER"
    internal: ClassVar[bool] = True
    plan_type: ClassVar[type[Plan]] = TakeoverPlan

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(shared=[locks.CLUSTER], exclusive=[locks.MASTER])

    def check(self, cluster: Snapshot, given: Given) -> TakeoverPlan:
        uuid = cluster.cluster.failed_over_from
        if uuid is None:
            raise Rejected("no takeover is to be told of", reason=Reason.STATE)
        old = cluster.nodes.get(uuid)
        after = msgspec.structs.replace(cluster.cluster, failed_over_from=None)
        return TakeoverPlan(
            after=after, old=old.name if old else str(uuid), new=cluster.master.name
        )

    def subject(self, plan: TakeoverPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.CLUSTER,
            values={"OLD_MASTER": plan.old, "NEW_MASTER": plan.new},
        )

    async def run(self, plan: TakeoverPlan, steps: Steps) -> Outcome:
        steps.log(f"the master was on {plan.old} and is on {plan.new} now")
        return Outcome(put=(plan.after,), result=plan.new)


def _may_be_master(cluster: Snapshot, node: Node) -> None:
    if node.uuid == cluster.cluster.master_node:
        raise Rejected(
            f"node {node.name} is the master already",
            "type gnt-cluster master-failover on the node that is to become it",
            reason=Reason.STATE,
            node=node.name,
        )
    if node.offline or node.drained or not node.master_candidate:
        state = "offline" if node.offline else "drained" if node.drained else "no candidate"
        raise Rejected(
            f"node {node.name} cannot be the master: it is {state}",
            f"gnt-node modify -C yes {node.name}; candidates: "
            + ", ".join(sorted(one.name for one in cluster.nodes.values() if _candidate(one))),
            reason=Reason.STATE,
            node=node.name,
        )
    live = cluster.live.get(node.uuid)
    if live is None or not live.reachable:
        raise Rejected(
            f"node {node.name} does not answer",
            "start its agent: systemctl start gantry-agent",
            reason=Reason.STATE,
            node=node.name,
        )


def _candidate(node: Node) -> bool:
    return node.master_candidate and not node.offline


def _all_hear(cluster: Snapshot) -> None:
    silent = sorted(
        node.name
        for node in cluster.nodes.values()
        if _candidate(node)
        and ((live := cluster.live.get(node.uuid)) is None or not live.reachable)
    )
    if silent:
        raise Rejected(
            f"candidates do not answer, and would not hear of the new master: {', '.join(silent)}",
            "mark them offline, or give --ignore-offline-nodes: they are told when they are back",
            reason=Reason.STATE,
        )
