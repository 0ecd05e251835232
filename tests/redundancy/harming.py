"""What goes wrong while something is changed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from tests.redundancy import operating
from tests.redundancy.changes import Draw, Harm
from tests.redundancy.cluster import DAEMON, QEMU, Rig, kill, others


def do(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    """To one of these nodes, which the change is about; it is over afterwards."""
    _DO[draw.harm](rig, draw, nodes)


def _ended(program: str) -> Callable[[Rig, Draw, Sequence[int]], None]:
    def act(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
        found = [pids for one in nodes if (pids := rig.processes(one, program))]
        for pid in operating.draw(found, draw.where) if found else ():
            kill(pid)

    return act


def _restarted(rig: Rig, draw: Draw, role: str, number: int) -> None:
    service = rig.fleet.daemon(role, number)
    service.stop(signal.SIGKILL)
    operating.last(draw.seconds)
    service.start(wait=False)


def _agent(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    _restarted(rig, draw, "agent", operating.draw(nodes, draw.where))


def _master(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    _restarted(rig, draw, "master", 1)


def _node(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    number = operating.draw(nodes, draw.where)
    rig.kill_all(number)
    operating.last(draw.seconds)
    rig.come_back(number)


def _cut(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    several = [(one, others(rig.fleet.numbers, one)) for one in nodes]
    several += [(one, [two]) for one in nodes for two in nodes if one < two]
    one, them = operating.draw(several, draw.where)
    rig.fleet.part([one], them)
    operating.last(draw.seconds)
    rig.fleet.mend_all()


def _freeze(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    several = [pids for one in nodes if (pids := rig.processes(one, DAEMON))]
    several += [[pid] for one in nodes if (pid := rig.fleet.daemon("agent", one).pid)]
    pids = operating.draw(several, draw.where) if several else []
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    operating.last(draw.seconds)
    for pid in pids:
        kill(pid, signal.SIGCONT)


def _full(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    rig.fill(operating.draw(nodes, draw.where))
    operating.last(draw.seconds)
    rig.make_room()


def _cancel(rig: Rig, draw: Draw, nodes: Sequence[int]) -> None:
    """As an operator: all jobs that have not ended."""
    rig.run("gnt-job", "cancel", "-f", "--kill", "--pending")


_DO: dict[Harm, Callable[[Rig, Draw, Sequence[int]], None]] = {
    Harm.QEMU: _ended(QEMU),
    Harm.DAEMON: _ended(DAEMON),
    Harm.AGENT: _agent,
    Harm.MASTER: _master,
    Harm.NODE: _node,
    Harm.CUT: _cut,
    Harm.FREEZE: _freeze,
    Harm.FULL: _full,
    Harm.CANCEL: _cancel,
}
