"""Put a bundle onto nodes: what a push of hooks and one of an OS definition share.

On all of these nodes, or on none: where one of them refuses it, the others go back. A node that is
away is left out; it gets the bundle when it comes back (``gantry.supervision.bundles``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import ClassVar

import msgspec

from gantry.model import bundles, locks, rollout, timeouts
from gantry.model.bundle_orders import (
    BundleInstall,
    BundleRestore,
    FileKind,
    InstalledBundle,
    ReadBundle,
)
from gantry.model.entities import Rollout
from gantry.model.errors import Reason, Rejected, Unavailable
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import Nothing, Order
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.ports.steps import Effect, Outcome, Steps, Undo

_SHOWN = 5
"""Names in a message; the rest is counted."""


class PushPlan(Plan, frozen=True, kw_only=True):
    """``nodes`` get it now; ``there`` is the hash of what they have, in the same order."""

    target: str
    number: int
    sha256: str
    packed: bytes
    replace: bool
    nodes: tuple[Uuid, ...]
    names: tuple[str, ...]
    there: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    after: Rollout | None = None
    lost: tuple[str, ...] = ()
    back: int = 0
    """What is taken away that could deny, and the number of the bundle that had it."""


class Push(Operation[PushPlan], frozen=True, kw_only=True):
    """``bundle`` is its number; 0 takes the bundle away. None: the one before (``rollback``).

    ``going_back`` (``rollback --to``): it is no new push, but all that came after it is taken back.
    Without ``node_names`` it is for all nodes, also for those to come. ``catch_up``: what is
    wanted stays as it is, and these nodes get it. ``replace``: local files in the way are set
    aside.
    """

    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = PushPlan

    bundle: int | None = None
    going_back: bool = False
    node_names: tuple[str, ...] = ()
    replace: bool = False
    catch_up: bool = False

    @property
    def target(self) -> str:
        """What the bundle is of, or Rejected where there can be no such target."""
        raise NotImplementedError

    def said(self) -> str:
        """The part of the summary that says which bundle is meant."""
        if self.catch_up:
            return f"missed by {some(self.node_names)}"
        return "the one before" if self.bundle is None else str(self.bundle)

    def needs(self, cluster: Snapshot) -> Needs:
        nodes = [locks.node(uuid) for uuid in self._nodes(cluster)]
        return Needs.of(shared=[locks.CLUSTER, *nodes], exclusive=[locks.bundle(self.target)])

    def check(self, cluster: Snapshot, given: Given) -> PushPlan:
        target, nodes = self.target, self._nodes(cluster)
        number = self._number(cluster, nodes)
        bundle = rollout.bundle(cluster, target, number) if number else None
        away = [uuid for uuid in nodes if not _answers(cluster, uuid)]
        now = [uuid for uuid in nodes if uuid not in away]
        had = max((rollout.wanted(cluster, target, uuid) or 0 for uuid in nodes), default=0)
        return PushPlan(
            target=target,
            number=number,
            sha256=bundle.sha256 if bundle is not None else "",
            packed=bundle.packed if bundle is not None else b"",
            replace=self.replace,
            nodes=tuple(now),
            names=tuple(cluster.nodes[uuid].name for uuid in now),
            away=tuple(cluster.nodes[uuid].name for uuid in away),
            after=None if self.catch_up else self._after(cluster, number, nodes, given),
            lost=rollout.lost(cluster, target, number, nodes),
            back=had,
        )

    async def examine(self, plan: PushPlan, cluster: Snapshot, ask: Examiner) -> PushPlan:
        answers = await asyncio.gather(*(_read(ask, uuid, plan.target) for uuid in plan.nodes))
        found = [
            (uuid, name, answer)
            for uuid, name, answer in zip(plan.nodes, plan.names, answers, strict=True)
            if answer is not None
        ]
        gone = [name for name, answer in zip(plan.names, answers, strict=True) if answer is None]
        if plan.number and not plan.replace:
            files = rollout.bundle(cluster, plan.target, plan.number).files
            paths = {bundles.shown(plan.target, one.path) for one in files}
            _no_conflicts(plan.target, paths, [(name, answer) for _, name, answer in found])
        return msgspec.structs.replace(
            plan,
            nodes=tuple(uuid for uuid, _, _ in found),
            names=tuple(name for _, name, _ in found),
            there=tuple(answer.sha256 for _, _, answer in found),
            away=(*plan.away, *gone),
        )

    async def run(self, plan: PushPlan, steps: Steps) -> Outcome:
        order: Order[Nothing] = BundleRestore(target=plan.target)
        if plan.number:
            order = BundleInstall(
                target=plan.target, sha256=plan.sha256, packed=plan.packed, replace=plan.replace
            )
        effects = [
            Effect(
                name=f"bundle/{index}",
                node=uuid,
                order=order,
                undo=Undo(
                    uuid, BundleRestore(target=plan.target, sha256=there, undoing=plan.sha256)
                ),
            )
            for index, (uuid, there) in enumerate(zip(plan.nodes, plan.there, strict=True))
        ]
        what = rollout.described(plan.target, plan.number)
        if effects:
            steps.log(f"{what} for {some(plan.names)}")
            await steps.all(effects, timeout=timeouts.NORMAL)
        if plan.lost:
            steps.warn(
                f"with it go scripts that could deny: {some(plan.lost)}; "
                f"gnt-hook rollback --to {plan.back} brings them back"
            )
        for name in plan.away:
            steps.warn(f"node {name} does not answer: it gets {what} when it is back")
        result = {
            "bundle": plan.number,
            "sha256": plan.sha256,
            "installed": list(plan.names),
            "away": list(plan.away),
            "lost": list(plan.lost),
        }
        return Outcome(put=() if plan.after is None else (plan.after,), result=result)

    def _nodes(self, cluster: Snapshot) -> list[Uuid]:
        """Those that are named, or all; those that are offline get it when they are back."""
        if not self.node_names:
            return [uuid for uuid, node in cluster.nodes.items() if not node.offline]
        return list(dict.fromkeys(cluster.node(name).uuid for name in self.node_names))

    def _number(self, cluster: Snapshot, nodes: list[Uuid]) -> int:
        """The bundle that is meant."""
        if self.catch_up:
            numbers = {rollout.wanted(cluster, self.target, uuid) for uuid in nodes}
        elif self.bundle is not None:
            return self.bundle
        else:
            numbers = {rollout.wanted(cluster, self.target, uuid) or 0 for uuid in nodes}
        if len(numbers) != 1 or (number := numbers.pop()) is None:
            raise Rejected(
                "these nodes do not all have the same bundle",
                f"{rollout.program(self.target)} status shows them; say which one: rollback --to N",
                reason=Reason.STATE,
            )
        if self.catch_up:
            return number
        if not number:
            known = rollout.numbers(cluster, self.target)
            raise Rejected(
                "there is nothing to go back from: these nodes are to have no bundle",
                f"{known}; {rollout.program(self.target)} rollback --to N puts one there"
                if known
                else f"{rollout.program(self.target)} push makes one",
            )
        before = {rollout.before(cluster, self.target, uuid) for uuid in nodes}
        if len(before) != 1:
            raise Rejected(
                "these nodes did not all have the same bundle before",
                "roll back some at a time with --node, or say which one: rollback --to N",
                reason=Reason.STATE,
            )
        return before.pop()

    def _after(self, cluster: Snapshot, number: int, nodes: list[Uuid], given: Given) -> Rollout:
        """What is wanted from now on; nodes that are gone are forgotten."""
        now, target = given.now, self.target
        made = rollout.rollout(cluster, target) or Rollout(
            uuid=given.uuid(), name=target, target=target, ctime=now
        )
        back = self.going_back or self.bundle is None
        if self.node_names:
            made = rollout.without(made, made.nodes.keys() - cluster.nodes.keys())
            made = rollout.on_nodes(made, nodes, number, back=back)
        else:
            made = rollout.everywhere(made, nodes, number, back=back)
        return msgspec.structs.replace(made, mtime=now, serial_no=made.serial_no + 1)


def _answers(cluster: Snapshot, uuid: Uuid) -> bool:
    return not cluster.nodes[uuid].offline and cluster.node_live(uuid).reachable


async def _read(ask: Examiner, node: Uuid, target: str) -> InstalledBundle | None:
    try:
        return await ask.ask(node, ReadBundle(target=target), timeouts.URGENT)
    except Unavailable:
        return None


def _no_conflicts(
    target: str, paths: set[str], nodes: Iterable[tuple[str, InstalledBundle]]
) -> None:
    """Before anything is installed anywhere."""
    found = [
        f"{name}: {one.path}"
        for name, installed in nodes
        for one in installed.files
        if one.kind is FileKind.LOCAL and one.path in paths
    ]
    if found:
        hooks = target == bundles.HOOKS
        them = "rename or remove them, leave them out of the bundle" if hooks else "remove it there"
        raise Rejected(
            "what was put there by hand has "
            + ("names of the bundle: " if hooks else "the name of the definition: ")
            + some(found, "; "),
            f"{them}, or push with --replace, which sets aside what is there",
            reason=Reason.EXISTS,
        )


def some(names: Iterable[str], between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    found = list(names)
    more = len(found) - _SHOWN
    return between.join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
