"""The end of a cluster: ``gnt-cluster destroy``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks
from gantry.model.entities import Cluster
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.ports.steps import Outcome, Steps


class DestroyPlan(Plan, frozen=True, kw_only=True):
    """The cluster, marked."""

    after: Cluster


class ClusterDestroy(Operation[DestroyPlan], frozen=True, kw_only=True):
    """Refused while there are instances, or nodes beside the master."""

    opcode: ClassVar[str] = "OP_CLUSTER_DESTROY"
    plan_type: ClassVar[type[Plan]] = DestroyPlan

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(exclusive=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> DestroyPlan:
        if cluster.instances:
            raise Rejected(
                f"the cluster still has {len(cluster.instances)} instance(s)",
                "remove them first: gnt-instance remove NAME",
                reason=Reason.STATE,
            )
        others = sorted(node.name for node in cluster.nodes.values() if node != cluster.master)
        if others:
            raise Rejected(
                f"the cluster still has {len(others)} node(s) beside the master: "
                + ", ".join(others[:5]),
                "remove them first: gnt-node remove NAME",
                reason=Reason.STATE,
            )
        return DestroyPlan(after=msgspec.structs.replace(cluster.cluster, destroyed=True))

    def subject(self, plan: DestroyPlan, cluster: Snapshot) -> Subject:
        return Subject(kind=SubjectKind.CLUSTER)

    async def run(self, plan: DestroyPlan, steps: Steps) -> Outcome:
        return Outcome(put=(plan.after,), result=plan.after.master_node)
