"""Power of nodes, by the site's own program: ``gnt-node power``, ``gnt-node health``."""

from __future__ import annotations

import enum
from typing import Any, ClassVar, Final

from gantry.model import locks, timeouts
from gantry.model.entities import Node
from gantry.model.errors import ErrorInfo, GantryError, OperationFailed, Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.power import CHANGING, Health, PowerCommand, PowerRun, PowerSaid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, power
from gantry.ports.steps import Outcome, Steps

_TAKING: Final = (PowerCommand.OFF, PowerCommand.CYCLE)
_DONE: Final = {
    PowerCommand.ON: "powered on",
    PowerCommand.OFF: "powered off, as power-status confirms",
    PowerCommand.CYCLE: "power-cycled",
}
_PAUSE: Final = 2.0
"""Seconds between two nodes that are switched on, unless said otherwise."""


class Answer(enum.IntEnum):
    """Of one node in the result, as Ganeti numbers them."""

    NORMAL = 0
    NO_DATA = 2
    UNAVAILABLE = 3


class PowerTarget(Plan, frozen=True, kw_only=True):
    """One node, and what is asked about it; ``order`` is None where it has no program."""

    node: Node
    order: PowerRun | None


class PowerPlan(Plan, frozen=True, kw_only=True):
    """``through`` is the node that the program runs on: the master's."""

    through: Uuid
    targets: tuple[PowerTarget, ...]


class NodePower(Operation[PowerPlan], frozen=True, kw_only=True):
    """The result has ``[[0, node], [status, data]]`` for each node.

    Where power could not be switched it is an error; what was done for others stands.

    ``ignore_status``: take the power also where guests run. ``force``: also the master's own.
    Nothing is undone: power that came back would be worse than power that is off.
    """

    opcode: ClassVar[str] = "OP_OOB_COMMAND"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = PowerPlan

    command: PowerCommand
    node_names: tuple[str, ...] = ()
    """Empty: all; power is taken from all but the master."""
    node_uuids: tuple[str, ...] | None = None
    timeout: int = int(timeouts.POWER)
    ignore_status: bool = False
    force: bool = False
    power_delay: float = _PAUSE

    def summary(self) -> str:
        return f"OOB_COMMAND({self.command}, {', '.join(self.node_names) or 'all nodes'})"

    def needs(self, cluster: Snapshot) -> Needs:
        nodes = [locks.node(node.uuid) for node in self._nodes(cluster)]
        if self.command in CHANGING:
            return Needs.of(shared=[locks.CLUSTER], exclusive=nodes)
        return Needs.of(shared=[locks.CLUSTER, *nodes])

    def check(self, cluster: Snapshot, given: Given) -> PowerPlan:
        if not 1 <= self.timeout <= timeouts.SLOW:
            raise Rejected(f"a call takes 1 to {timeouts.SLOW:.0f} seconds, not {self.timeout}")
        if not 0 <= self.power_delay <= timeouts.SLOW:
            raise Rejected(f"the delay is 0 to {timeouts.SLOW:.0f} seconds")
        master = cluster.master
        checks.node_usable(cluster, master, "run the program that switches power")
        nodes = self._nodes(cluster)
        for node in nodes:
            self._allowed(cluster, node)
        targets = [self._target(cluster, node, given, at) for at, node in enumerate(nodes)]
        if not any(target.order for target in targets):
            power.required(cluster, nodes[0] if nodes else master)
        return PowerPlan(through=master.uuid, targets=tuple(targets))

    def _nodes(self, cluster: Snapshot) -> list[Node]:
        if self.node_names:
            found = {node.uuid: node for node in map(cluster.node, self.node_names)}
            return list(found.values())
        everything = sorted(cluster.nodes.values(), key=lambda node: node.name)
        master = cluster.cluster.master_node
        return [one for one in everything if not (self.command in _TAKING and one.uuid == master)]

    def _allowed(self, cluster: Snapshot, node: Node) -> None:
        if self.command not in _TAKING:
            return
        what = "power off" if self.command is PowerCommand.OFF else "power-cycle"
        if node.uuid == cluster.cluster.master_node and not self.force:
            raise Rejected(
                f"cannot {what} node {node.name}: it is the master, and this runs on it",
                "make another node the master first (gnt-cluster master-failover), or give --force",
                reason=Reason.STATE,
                node=node.name,
            )
        if not self.ignore_status:
            power.may_lose_power(cluster, node, what, "--ignore-status does it all the same")

    def _target(self, cluster: Snapshot, node: Node, given: Given, at: int) -> PowerTarget:
        if not power.program(cluster, node) and not self.node_names:
            return PowerTarget(node=node, order=None)
        waits = self.command is PowerCommand.ON and at > 0
        delay = self.power_delay if waits else 0.0
        made = power.order(cluster, node, self.command, given.uuid(), float(self.timeout), delay)
        return PowerTarget(node=node, order=made)

    async def run(self, plan: PowerPlan, steps: Steps) -> Outcome:
        told: list[Any] = []
        changed: list[Node] = []
        failed: list[ErrorInfo] = []
        for target in plan.targets:
            status, data = Answer.UNAVAILABLE, None
            if target.order is not None:
                try:
                    said = await steps.do(
                        f"{self.command}/{target.node.uuid}",
                        plan.through,
                        target.order,
                        timeout=target.order.longest,
                    )
                except GantryError as error:
                    steps.warn(_named(target.node, str(error)))
                    failed.append(error.info())
                    status = Answer.NO_DATA
                else:
                    status, data = Answer.NORMAL, self._data(said)
                    changed += self._record(target.node, said, steps)
            told.append([[Answer.NORMAL.value, target.node.name], [status.value, data]])
        wrong = failed and self.command in CHANGING
        return Outcome(
            put=tuple(changed),
            result=told,
            error=_failure(self.command, failed, len(plan.targets)) if wrong else None,
        )

    def _data(self, said: PowerSaid) -> Any:
        if self.command is PowerCommand.HEALTH:
            return [[item, how.value] for item, how in said.health]
        return {"powered": said.powered} if self.command is PowerCommand.STATUS else None

    def _record(self, node: Node, said: PowerSaid, steps: Steps) -> list[Node]:
        """What the node's record is to be; and what is worth a line in the log."""
        if self.command in CHANGING:
            steps.log(f"{node.name}: {_DONE[self.command]}")
        for item, how in said.health:
            if how in (Health.WARNING, Health.CRITICAL):
                steps.warn(f"{node.name}: {item} is {how}")
        if said.powered is None or said.powered is node.powered:
            return []
        if self.command is PowerCommand.STATUS:
            words = ("off", "on")
            steps.warn(
                f"{node.name} is {words[said.powered]}, and its record says "
                f"{words[node.powered]}: gnt-node modify --node-powered="
                f"{'yes' if said.powered else 'no'} {node.name}"
            )
            return []
        return [checks.changed(node, steps.now, powered=said.powered)]


def _named(node: Node, text: str) -> str:
    return text if text.startswith(node.name) else f"{node.name}: {text}"


def _failure(command: PowerCommand, failed: list[ErrorInfo], of: int) -> ErrorInfo:
    if of == 1:
        return failed[0]
    return OperationFailed(
        f"{command} failed for {len(failed)} of {of} nodes",
        "the job's log says why: gnt-job info",
        reason=Reason.ENVIRONMENT,
    ).info()
