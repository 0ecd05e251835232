"""Simulated nodes: agents in numbers, a few processes for all of them; joined like others.

Each has its own root, key, certificate and address. Only that their tokens do not pass through
an operator's hands, and that they are added all at once, is different from real nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gantry.agent import configuration as configured
from gantry.agent.configuration import Resources
from gantry.agent.joining import join
from gantry.client.connection import Connection
from gantry.client.errors import ApiError, ClientError
from gantry.client.jobs import submission
from gantry.local import description, files, processes
from gantry.local.description import Crew, Description, SimulatedNode
from gantry.local.layout import Layout, Role
from gantry.model.errors import OperationFailed

NODES: Final = "etc/gantry/simulation.json"
"""In the root of a crew: what it is to run, a ``CrewOrder`` as JSON."""
RESOURCES: Final = Resources(memory=256 * 1024, disk=4 * 1024 * 1024, cpus=64, sockets=2)
"""What a simulated node says that it has."""
_AT_ONCE: Final = 8
"""Machines that join at the same time: the master makes a certificate for each."""


class CrewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The roots of a crew's nodes, and how many crews there are on the machine."""

    roots: tuple[str, ...]
    crews: int = 1


T = TypeVar("T")
R = TypeVar("R")


async def prepare(layout: Layout, about: Description, nodes: Iterable[SimulatedNode]) -> None:
    """Make new machines and let them join, each with a token of its own."""
    master = layout.root(about.nodes[0])

    def one(node: SimulatedNode) -> None:
        root = layout.root(node)
        files.remove(layout, node)
        files.make(layout, node)
        token = _asked(lambda: Connection(str(master)).post("tokens", {"name": node.name}))
        join(root, token["token"], address=about.primary(node), port=description.AGENT_PORT)
        joined = configured.read(root)
        configured.write(
            root, msgspec.structs.replace(joined, hypervisors=("fake",), resources=RESOURCES)
        )

    await _each(one, nodes)


async def start(layout: Layout, nodes: Sequence[SimulatedNode]) -> None:
    """Have the agents of exactly these nodes run, as far as they are of the cluster still."""
    crews: dict[Crew, list[str]] = {}
    for node in nodes:
        root = layout.root(node)
        if (root / configured.FILE).exists():
            crews.setdefault(node.crew, []).append(str(root))
    orders = {
        crew: CrewOrder(roots=tuple(roots), crews=len(crews)) for crew, roots in crews.items()
    }
    # A node may go from one crew to another: what it leaves must be gone before it starts.
    await asyncio.gather(*(_ordered(layout, crew, order) for crew, order in orders.items()))
    await asyncio.gather(*(processes.start(layout, crew, Role.SIMULATE) for crew in orders))


async def _ordered(layout: Layout, crew: Crew, order: CrewOrder) -> None:
    files.make_crew(layout, crew)
    file = layout.root(crew) / NODES
    wanted = msgspec.json.encode(order)
    if not file.exists() or file.read_bytes() != wanted:
        # An agent that is started again finds its guests and what it remembers.
        await processes.stop(layout, crew, Role.SIMULATE)
        file.write_bytes(wanted)


async def add(master: Path, nodes: Iterable[SimulatedNode]) -> None:
    """Add machines that have joined, by jobs with their hooks; none becomes a candidate."""

    def one(node: SimulatedNode) -> None:
        operation = {"OP_ID": "OP_NODE_ADD", "node_name": node.name, "master_capable": False}
        body = submission([operation])
        job = _asked(lambda: Connection(str(master)).post("jobs", body, wait="1"))
        if job["status"] != "success":
            error: dict[str, Any] = next((op["error"] for op in job["ops"] if op.get("error")), {})
            raise OperationFailed(
                f"node {node.name} cannot be added: {error.get('message', job['status'])}",
                str(error.get("hint", "")),
            )

    await _each(one, nodes)


async def _each(work: Callable[[T], R], things: Iterable[T]) -> list[R]:
    """Do blocking ``work`` on each, several at a time; what fails first is raised in the end."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(_AT_ONCE, "simulated") as pool:
        started = [loop.run_in_executor(pool, work, one) for one in things]
        done = await asyncio.gather(*started, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one
    return [one for one in done if not isinstance(one, BaseException)]


def _asked(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (ApiError, ClientError) as error:
        raise OperationFailed(error.message, str(error.info()["hint"])) from None
