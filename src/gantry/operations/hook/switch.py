"""Switch hook scripts off or on again: ``gnt-hook disable``, ``gnt-hook enable``.

What is decided stands with the final commit: a node that is away is told when it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

import msgspec

from gantry.model import locks, timeouts
from gantry.model.errors import Reason, Rejected, Unavailable
from gantry.model.hook_files import HookInventory, ReadHookFiles
from gantry.model.hook_switch import SCRIPT
from gantry.model.hook_switch import HookSwitch as SwitchOrder
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.ports.steps import Outcome, Steps, Undo

_LONGEST = 500
"""Characters of a reason."""


class HookSwitchPlan(Plan, frozen=True, kw_only=True):
    """``scripts`` are ``directory/name``, once the nodes have been asked."""

    nodes: tuple[Uuid, ...]
    by: str
    scripts: tuple[str, ...] = ()


class HookSwitch(Operation[HookSwitchPlan], frozen=True, kw_only=True):
    """``scripts`` are names, or ``directory/name``; a bare name is meant in all directories.

    Without ``node_names`` on all nodes. ``because`` is shown wherever the script is missed.
    """

    opcode: ClassVar[str] = "OP_HOOK_SWITCH"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = HookSwitchPlan

    scripts: tuple[str, ...]
    enabled: bool
    node_names: tuple[str, ...] = ()
    because: str = ""

    def summary(self) -> str:
        return f"HOOK_SWITCH({','.join(self.scripts)},{'on' if self.enabled else 'off'})"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(shared=[locks.CLUSTER], exclusive=[locks.HOOKS])

    def check(self, cluster: Snapshot, given: Given) -> HookSwitchPlan:
        if not self.scripts:
            raise Rejected("no script is named", "gnt-hook list shows them")
        if len(self.because) > _LONGEST:
            raise Rejected(f"a reason has at most {_LONGEST} characters")
        named = [cluster.node(name).uuid for name in self.node_names]
        nodes = list(dict.fromkeys(named)) or list(cluster.nodes)
        return HookSwitchPlan(nodes=tuple(nodes), by=given.requester)

    async def examine(
        self, plan: HookSwitchPlan, cluster: Snapshot, ask: Examiner
    ) -> HookSwitchPlan:
        """Which scripts are meant; Rejected where one is on no node that answers."""
        asked = [
            uuid
            for uuid in plan.nodes
            if not cluster.nodes[uuid].offline and cluster.node_live(uuid).reachable
        ]
        version = cluster.cluster.hooks_version
        answers = await asyncio.gather(*(_read(ask, uuid, version) for uuid in asked))
        known = {
            f"{one.directory}/{one.name}"
            for answer in answers
            if answer is not None
            for one in answer.files
        }
        known |= {one for answer in answers if answer is not None for one in answer.disabled}
        found = [one for name in self.scripts for one in _meant(name, known)]
        return msgspec.structs.replace(plan, scripts=tuple(dict.fromkeys(found)))

    async def run(self, plan: HookSwitchPlan, steps: Steps) -> Outcome:
        order = SwitchOrder(
            scripts=plan.scripts,
            enabled=self.enabled,
            since=steps.now,
            by=plan.by,
            reason=self.because,
        )
        word = "on again" if self.enabled else "off"
        steps.log(f"switching {word} on {len(plan.nodes)} node(s): {', '.join(plan.scripts)}")
        return Outcome(
            result=list(plan.scripts), cleanup=tuple(Undo(uuid, order) for uuid in plan.nodes)
        )


async def _read(ask: Examiner, node: Uuid, version: int) -> HookInventory | None:
    try:
        return await ask.ask(node, ReadHookFiles(main_version=version), timeouts.URGENT)
    except Unavailable:
        return None


def _meant(name: str, known: Iterable[str]) -> list[str]:
    """The scripts of that name; Rejected where there is none."""
    found = sorted(one for one in known if name in (one, one.partition("/")[2]))
    if found and not all(map(SCRIPT.fullmatch, found)):
        raise Rejected(
            f"{name} does not run anyway: its name is not made of letters, digits, _ and -",
            "gnt-hook lint says more",
            object_name=name,
        )
    if found:
        return found
    every = {*known, *(one.partition("/")[2] for one in known)}
    near = get_close_matches(name, sorted(every), 1)
    raise Rejected(
        f"no node that answers has a script {name}",
        f"did you mean {near[0]}?" if near else "gnt-hook list shows them: NAME, or DIRECTORY/NAME",
        reason=Reason.UNKNOWN,
        object_name=name,
    )
