"""Make a joined machine a node: ``gnt-node add``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks, timeouts
from gantry.model.entities import Joined, Node, ParameterValue
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid, host_name
from gantry.model.orders import ReadFacts
from gantry.model.parameters import NODE, check, merge
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import allocation, candidates, checks
from gantry.ports.steps import Outcome, Steps


class NodeAddPlan(Plan, frozen=True, kw_only=True):
    """``joined`` is what turns into the node; None where a node is back as it was."""

    node: Node
    joined: Joined | None


class NodeAdd(Operation[NodeAddPlan], frozen=True, kw_only=True):
    """The machine has joined before (``gantry join``): its agent runs and has its certificate."""

    opcode: ClassVar[str] = "OP_NODE_ADD"
    plan_type: ClassVar[type[Plan]] = NodeAddPlan

    node_name: str
    primary_ip: str | None = None
    secondary_ip: str | None = None
    readd: bool = False
    group: str | None = None
    master_capable: bool | None = None
    vm_capable: bool | None = None
    ndparams: dict[str, ParameterValue] = {}

    def summary(self) -> str:
        return f"NODE_ADD({self.node_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(exclusive=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> NodeAddPlan:
        name = host_name(self.node_name, "the name of a node")
        known = cluster.node_names.get(name)
        if known and not self.readd:
            raise Rejected(
                f"node {name} is in the cluster already",
                "give --readd after the machine was made anew",
                reason=Reason.EXISTS,
                object_name=name,
            )
        if name in cluster.instance_names or name == cluster.cluster.name:
            raise Rejected(
                f"{name} is the name of an instance or of the cluster",
                "join the machine under another name",
                reason=Reason.NOT_UNIQUE,
            )
        joined = next((one for one in cluster.joined.values() if one.name == name), None)
        if known and self.readd:
            return self._again(cluster, cluster.nodes[known], joined, given.now)
        if joined is None:
            raise Rejected(
                f"machine {name} has not joined yet",
                f"on the master: gantry token {name} > FILE; on {name}: gantry join < FILE; "
                "then start its agent and repeat this",
                reason=Reason.STATE,
                object_name=name,
            )
        return NodeAddPlan(node=self._new(cluster, joined, given.now), joined=joined)

    async def examine(self, plan: NodeAddPlan, cluster: Snapshot, ask: Examiner) -> NodeAddPlan:
        facts = await ask.ask(plan.node.uuid, ReadFacts(), timeouts.FAST)
        mine = cluster.node_live(cluster.master.uuid).facts
        if mine is not None and facts.version and mine.version != facts.version:
            ask.warn(f"{plan.node.name} runs version {facts.version}, the master {mine.version}")
        return plan

    def subject(self, plan: NodeAddPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.NODE,
            node=plan.node,
            values={
                "MASTER_CAPABLE": plan.node.master_capable,
                "VM_CAPABLE": plan.node.vm_capable,
            },
        )

    async def run(self, plan: NodeAddPlan, steps: Steps) -> Outcome:
        steps.log(f"adding node {plan.node.name} ({plan.node.primary_ip})")
        return Outcome(put=(plan.node,), delete=(plan.joined,) if plan.joined else ())

    def _new(self, cluster: Snapshot, joined: Joined, now: float) -> Node:
        if self.primary_ip and allocation.ip_address(self.primary_ip) != joined.primary_ip:
            raise Rejected(
                f"machine {joined.name} joined with address {joined.primary_ip}, "
                f"not {self.primary_ip}",
                "leave the address out, or join again with the right one",
            )
        group = (
            cluster.group(self.group)
            if self.group
            else min(cluster.groups.values(), key=lambda group: (group.ctime, group.name))
        )
        capable = self.master_capable is not False
        return Node(
            uuid=joined.uuid,
            name=joined.name,
            ctime=now,
            mtime=now,
            primary_ip=joined.primary_ip,
            secondary_ip=self._secondary(cluster, joined.primary_ip),
            port=joined.port,
            group=group.uuid,
            master_capable=capable,
            vm_capable=self.vm_capable is not False,
            master_candidate=capable and candidates.has_room(cluster),
            ndparams=merge({}, check(self.ndparams, NODE, "a node")),
        )

    def _secondary(self, cluster: Snapshot, primary: str, own: Uuid | None = None) -> str:
        wanted = allocation.ip_address(self.secondary_ip) if self.secondary_ip else primary
        for node in cluster.nodes.values():
            for address in (wanted, primary):
                if node.uuid != own and address in (node.primary_ip, node.secondary_ip):
                    raise Rejected(
                        f"address {address} is that of node {node.name}",
                        "give another one with -s, or join again under another one",
                        reason=Reason.NOT_UNIQUE,
                    )
        return wanted

    def _again(
        self, cluster: Snapshot, node: Node, joined: Joined | None, now: float
    ) -> NodeAddPlan:
        """A node that was made anew keeps its uuid, its instances and its place."""
        changes: dict[str, object] = {
            "offline": False,
            "drained": False,
            "master_candidate": node.uuid == cluster.cluster.master_node
            or (node.master_capable and candidates.has_room(cluster, node.uuid)),
        }
        if joined is not None and joined.uuid != node.uuid:
            raise Rejected(
                f"{node.name} joined before the node of that name was added",
                f"join it again: gantry token {node.name} > FILE, and on it gantry join < FILE",
                reason=Reason.STATE,
            )
        if joined is not None:
            alone = node.secondary_ip == node.primary_ip
            changes["primary_ip"], changes["port"] = joined.primary_ip, joined.port
            if self.secondary_ip or alone:
                changes["secondary_ip"] = self._secondary(cluster, joined.primary_ip, node.uuid)
        return NodeAddPlan(node=checks.changed(node, now, **changes), joined=joined)
