"""Change a node's role and parameters: ``gnt-node modify``."""

from __future__ import annotations

from typing import Any, ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks
from gantry.model.entities import Node, ParameterValue
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.parameters import NODE, check, merge
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import allocation, candidates, checks, power
from gantry.ports.steps import Outcome, Steps

_FLAGS = ("master_candidate", "offline", "drained", "master_capable", "vm_capable")


class NodeModifyPlan(Plan, frozen=True, kw_only=True):
    """``flags`` as settled by the check: only those that really change.

    ``promoted`` become master candidates in the place of this one.
    """

    before: Node
    after: Node
    flags: dict[str, bool]
    promoted: tuple[Node, ...] = ()


class NodeModify(Operation[NodeModifyPlan], frozen=True, kw_only=True):
    """``offline=True`` says that the machine is certainly powered off or cut off.

    Its instances may be started elsewhere then, so it needs ``powered_off``, by which whoever
    asks says so, or a record that says it: ``powered``, kept where a program can switch power.
    ``auto_promote``: other nodes may become candidates in its place where it is asked to be none.
    """

    opcode: ClassVar[str] = "OP_NODE_SET_PARAMS"
    plan_type: ClassVar[type[Plan]] = NodeModifyPlan

    node_name: str
    node_uuid: str | None = None
    force: bool = False
    master_candidate: bool | None = None
    offline: bool | None = None
    drained: bool | None = None
    auto_promote: bool = False
    master_capable: bool | None = None
    vm_capable: bool | None = None
    secondary_ip: str | None = None
    ndparams: dict[str, ParameterValue] = {}
    powered: bool | None = None
    powered_off: bool = False

    def summary(self) -> str:
        return f"NODE_SET_PARAMS({self.node_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        node = cluster.node(self.node_name)
        exclusive = [locks.node(node.uuid)]
        if self._asked():
            exclusive.append(locks.CANDIDATES)
        if self._leaves(node, self._wanted(cluster, node)):
            following = candidates.promotable(cluster, node.uuid)
            exclusive += [locks.node(one.uuid) for one in following]
        return Needs.of(shared=[locks.CLUSTER], exclusive=exclusive)

    def check(self, cluster: Snapshot, given: Given) -> NodeModifyPlan:
        node = cluster.node(self.node_name)
        wanted = self._wanted(cluster, node)
        self._allowed(cluster, node, wanted)
        flags = {name: value for name, value in wanted.items() if getattr(node, name) is not value}
        changes: dict[str, Any] = dict(flags)
        if self.secondary_ip:
            changes["secondary_ip"] = self._secondary(cluster, node)
        if self.ndparams:
            changes["ndparams"] = merge(node.ndparams, check(self.ndparams, NODE, "a node"))
        self._powered(cluster, node, wanted)
        if self.powered not in (None, node.powered):
            changes["powered"] = self.powered
        if not changes and not self._asked() and self.powered is None:
            raise Rejected("nothing to change", "see gnt-node modify --help for what can be set")
        leaves = self._leaves(node, wanted)
        return NodeModifyPlan(
            before=node,
            after=checks.changed(node, given.now, **changes),
            flags=flags,
            promoted=candidates.promoted(cluster, given.now, node.uuid) if leaves else (),
        )

    async def examine(
        self, plan: NodeModifyPlan, cluster: Snapshot, ask: Examiner
    ) -> NodeModifyPlan:
        if plan.flags.get("offline"):
            await power.silent(ask, plan.before)
        return plan

    def subject(self, plan: NodeModifyPlan, cluster: Snapshot) -> Subject:
        # Scripts see what was asked for and an automatic promotion, not what follows from it.
        shown = {
            name: value
            for name, value in plan.flags.items()
            if getattr(self, name) is not None or (name == "master_candidate" and value)
        }
        return Subject(
            kind=SubjectKind.NODE,
            node=plan.before,
            values={name.upper(): shown.get(name) for name in _FLAGS},
        )

    async def run(self, plan: NodeModifyPlan, steps: Steps) -> Outcome:
        told = [[name, value] for name, value in plan.flags.items()]
        if plan.after.powered is not plan.before.powered:
            told.append(["powered", plan.after.powered])
        for name, value in told:
            steps.log(f"{name}: {value}")
        if plan.promoted:
            steps.log(candidates.words(plan.promoted))
        return Outcome(put=(plan.after, *plan.promoted), result=told)

    def _secondary(self, cluster: Snapshot, node: Node) -> str:
        address = allocation.ip_address(self.secondary_ip or "")
        for other in cluster.nodes.values():
            if other.uuid != node.uuid and address in (other.primary_ip, other.secondary_ip):
                raise Rejected(
                    f"address {address} is that of node {other.name}", reason=Reason.NOT_UNIQUE
                )
        return address

    def _asked(self) -> bool:
        return any(getattr(self, name) is not None for name in _FLAGS)

    @staticmethod
    def _leaves(node: Node, wanted: dict[str, bool]) -> bool:
        """Whether a candidate stops being one."""
        return node.master_candidate and wanted.get("master_candidate") is False

    def _wanted(self, cluster: Snapshot, node: Node) -> dict[str, bool]:
        """The flags after the change: one role at a time, what follows from what."""
        wanted = {name: getattr(self, name) for name in _FLAGS if getattr(self, name) is not None}
        if sum(bool(wanted.get(name)) for name in ("master_candidate", "offline", "drained")) > 1:
            raise Rejected("a node is a candidate, offline or drained: give only one of them")
        if wanted.get("offline") or wanted.get("drained"):
            wanted["master_candidate"] = False
        if wanted.get("drained"):
            wanted.setdefault("offline", False)
        if wanted.get("offline"):
            wanted.setdefault("drained", False)
        if wanted.get("master_candidate"):
            wanted.setdefault("offline", False)
            wanted.setdefault("drained", False)
        if wanted.get("master_capable") is False:
            wanted["master_candidate"] = False
        back = any(
            wanted.get(name) is usable and getattr(node, name) is not usable
            for name, usable in (("offline", False), ("drained", False), ("master_capable", True))
        )
        capable = wanted.get("master_capable", node.master_capable)
        usable = not any(wanted.get(name, getattr(node, name)) for name in ("offline", "drained"))
        if back and capable and usable and candidates.has_room(cluster, node.uuid):
            wanted.setdefault("master_candidate", True)
        return wanted

    def _allowed(self, cluster: Snapshot, node: Node, wanted: dict[str, bool]) -> None:
        master = node.uuid == cluster.cluster.master_node
        if master and (wanted.get("offline") or wanted.get("drained")):
            raise Rejected(
                f"node {node.name} is the master: it cannot be offline or drained",
                "make another node the master first",
                reason=Reason.STATE,
                node=node.name,
            )
        if master and wanted.get("master_candidate") is False:
            raise Rejected(
                f"node {node.name} is the master and stays a candidate",
                "make another node the master first",
                reason=Reason.STATE,
                node=node.name,
            )
        self._enough(cluster, node, wanted)
        capable = wanted.get("master_capable", node.master_capable)
        if wanted.get("master_candidate") and not capable:
            raise Rejected(f"node {node.name} is not master_capable", reason=Reason.STATE)
        if wanted.get("vm_capable") is False and cluster.instances_of(node.uuid):
            raise Rejected(
                f"node {node.name} has instances and must stay vm_capable", reason=Reason.STATE
            )

    def _powered(self, cluster: Snapshot, node: Node, wanted: dict[str, bool]) -> None:
        """What is said of its power fits; and who marks it offline says that it is off."""
        switched = bool(power.program(cluster, node))
        if self.powered is not None and not switched:
            power.required(cluster, node)
        powered = node.powered if self.powered is None else self.powered
        if self.offline is False and node.offline and switched and not powered:
            raise Rejected(
                f"node {node.name} is recorded as powered off",
                f"switch it on first: gnt-node power on {node.name}; or, where it is on already, "
                "give --node-powered=yes too",
                reason=Reason.STATE,
                node=node.name,
            )
        if not wanted.get("offline") or node.offline:
            return
        if not (self.powered_off or (switched and not powered)):
            raise Rejected(
                f"node {node.name} is marked offline only if it is certainly powered off, or cut "
                "off from disks and network: its instances may then be started elsewhere",
                "gnt-node modify --offline=yes asks for that word, in an operation it is "
                "powered_off; gnt-node power off gives it by itself",
                node=node.name,
            )

    def _enough(self, cluster: Snapshot, node: Node, wanted: dict[str, bool]) -> None:
        """Somebody stays who could be the master; and nobody is promoted whom nobody meant."""
        if not self._leaves(node, wanted):
            return
        if not candidates.others(cluster, node.uuid):
            raise Rejected(
                f"node {node.name} is the only master candidate",
                "make another one first: gnt-node modify -C yes NODE",
                reason=Reason.STATE,
                node=node.name,
            )
        asked = self.master_candidate is False or self.master_capable is False
        following = candidates.promotable(cluster, node.uuid)
        if asked and following and not self.auto_promote:
            left = len(candidates.others(cluster, node.uuid))
            raise Rejected(
                f"without node {node.name} there are {left} master candidates, not enough: there "
                f"can be {left + len(following)}",
                f"--auto-promote makes {', '.join(one.name for one in following)} a candidate in "
                f"its place; or want no more of them: gnt-cluster modify -C {left}",
                reason=Reason.STATE,
                node=node.name,
            )
