"""What hooks add to an operation where no script is installed.

    .venv/bin/python -m benchmarks.no_hooks [--runs 200]

An operation on an instance has three phases: pre, post and config-update. Each is planned, its
environments and its context are made, and a real agent is asked over mutual TLS; there is no
directory of scripts. Given is what all three take together, one after the other, as in a job.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
from benchmarks.figures import Figure, run
from tests.contract.agents.requests import envelope
from tests.support.agent_process import AgentProcess, TestAuthority
from tests.unit.hooks.cluster import snapshot
from tests.unit.hooks.situation import rich_instance

from gantry.hooks.context import Asked, Moment, document
from gantry.hooks.plan import NodeRun, config_update, phase_runs
from gantry.hooks.subject import Subject, SubjectKind
from gantry.hooks.table import Phase, row
from gantry.model.orders import HooksRun
from gantry.ports.agents import Address
from gantry.rpc.client import HttpAgents

TARGET = 5.0
OPCODE = "OP_INSTANCE_STARTUP"


def order(run: NodeRun, phase: Phase, moment: Moment) -> HooksRun:
    """What the master sends for one phase."""
    entry = row(OPCODE)
    told = document(entry, entry.op_code, phase, Asked(), moment, moment)
    return HooksRun(
        directories=run.directories,
        environments=run.environments,
        main_version=run.main_version,
        job=1,
        run_id="benchmark",
        attempt=1,
        about=run.about,
        context=msgspec.Raw(msgspec.json.encode({**told, "node": "node1"})),
    )


async def once(agents: HttpAgents, to: Address, turn: int) -> float:
    """Milliseconds of one operation's three phases."""
    began = time.perf_counter()
    instance = rich_instance()
    cluster = snapshot(instances=[instance])
    subject = Subject(kind=SubjectKind.INSTANCE, instance=instance)
    moment = Moment(cluster=cluster, subject=subject)
    [pre, *_] = phase_runs(OPCODE, Phase.PRE, cluster, subject)
    [post, *_] = phase_runs(OPCODE, Phase.POST, cluster, subject, cluster, subject)
    update = config_update(OPCODE, cluster, subject)
    for number, (found, phase) in enumerate(
        ((pre, Phase.PRE), (post, Phase.POST), (update, Phase.POST))
    ):
        key = envelope(f"job{turn}/0/hooks/{number}")
        ran = await agents.order(to, key, order(found, phase, moment))
        assert ran.results == ()
    return 1000 * (time.perf_counter() - began)


async def all_runs(runs: int) -> list[float]:
    """A real agent, and so many operations one after the other; the first is for warmth."""
    with tempfile.TemporaryDirectory() as path:
        ca = TestAuthority(Path(path))
        node, agents = AgentProcess(Path(path), ca), ca.master()
        await node.start()
        try:
            return [await once(agents, node.address, turn) for turn in range(runs + 1)][1:]
        finally:
            await agents.close()
            await node.close()


def measure(runs: int) -> list[Figure]:
    """The median."""
    found = asyncio.run(all_runs(runs))
    return [
        Figure(
            what="what hooks add to an operation when no script is installed",
            value=statistics.median(found),
            best=min(found),
            unit="ms",
            target=TARGET,
            reference=f"95 % below {statistics.quantiles(found, n=20)[-1]:.1f} ms",
        )
    ]


if __name__ == "__main__":
    run(measure, __doc__, 200)
