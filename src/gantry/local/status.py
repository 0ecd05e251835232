"""``gantry local status`` and ``gantry local env``: what is there, as data and as text."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from gantry.local import description
from gantry.local.description import Description, LocalNode, StoreMember
from gantry.local.layout import Layout, Role
from gantry.local.operator import Operator
from gantry.local.processes import find, is_master
from gantry.model.errors import GantryError


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node. A pid is None where the daemon does not run, ``guests`` where nobody knows.

    ``master`` is set for the node whose master process is the cluster's master now.
    """

    name: str
    simulated: bool = False
    root: str
    primary_ip: str
    secondary_ip: str
    agent_pid: int | None
    master: bool
    master_pid: int | None
    guests: list[str] | None

    @property
    def up(self) -> bool:
        """Whether all its daemons run."""
        waits = self.simulated or self.master_pid is not None
        return self.agent_pid is not None and waits


class StoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A member of etcd; the pid is None where it does not run."""

    name: str
    url: str
    pid: int | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster. ``up`` where every daemon runs."""

    cluster: str
    directory: str
    up: bool
    nodes: list[NodeStatus]
    store: list[StoreStatus] = []
    """Empty where the state is a file."""


async def status(directory: Path) -> Status:
    """What runs, and which guests the master knows to be running."""
    layout = Layout(directory)
    about = description.required(layout.directory)
    masters = {node.name for node in about.nodes if await is_master(layout, node)}
    placed = await _guests(Operator(layout, about.nodes[0])) if masters else None
    crews = {crew: _pid(layout, crew, Role.SIMULATE) for crew in about.crews}

    def node_status(
        node: LocalNode, agent: int | None, master: int | None = None, *, simulated: bool = False
    ) -> NodeStatus:
        return NodeStatus(
            name=node.name,
            simulated=simulated,
            root=str(layout.root(node)),
            primary_ip=about.primary(node),
            secondary_ip=about.secondary(node),
            agent_pid=agent,
            master=node.name in masters,
            master_pid=master,
            guests=None if placed is None else placed.get(node.name, []),
        )

    real = [
        node_status(node, *(_pid(layout, node, role) for role in (Role.AGENT, Role.MASTER)))
        for node in about.nodes
    ]
    nodes = real + [node_status(one, crews[one.crew], simulated=True) for one in about.simulated]
    store = [_store_status(layout, about, member) for member in about.store_members]
    running = all(node.up for node in nodes) and all(one.pid is not None for one in store)
    return Status(
        cluster=description.CLUSTER,
        directory=str(layout.directory),
        up=len(masters) == 1 and running,
        nodes=nodes,
        store=store,
    )


def _store_status(layout: Layout, about: Description, member: StoreMember) -> StoreStatus:
    url, pid = about.store_url(member), _pid(layout, member, Role.ETCD)
    return StoreStatus(name=member.label, url=url, pid=pid)


def _pid(layout: Layout, node: LocalNode, role: Role) -> int | None:
    found = find(layout, node, role)
    return found.pid if found else None


async def _guests(operator: Operator) -> dict[str, list[str]] | None:
    try:
        rows = await operator.rows("gnt-instance", "list", "-o", "name,pnode,oper_state")
    except GantryError:
        return None
    placed: dict[str, list[str]] = {}
    for row in rows:
        if row["oper_state"]:
            placed.setdefault(str(row["pnode"]), []).append(str(row["name"]))
    return placed


def table(found: Status) -> str:
    """As text, with a title."""
    rows = [("Node", "Address", "Agent", "Master", "Guests")]
    for node in found.nodes:
        if node.simulated:
            continue
        waits = "waits" if node.master_pid else "down"
        master = str(node.master_pid) if node.master else waits
        guests = "?" if node.guests is None else ", ".join(node.guests) or "-"
        rows.append((node.name, node.primary_ip, str(node.agent_pid or "down"), master, guests))
    rows += _simulated([node for node in found.nodes if node.simulated])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    title = f"{found.cluster} in {found.directory}: {'up' if found.up else 'not all up'}"
    note = "(the nodes share this machine's memory)"
    members = [f"{one.name}  {one.url}  {one.pid or 'down'}" for one in found.store]
    return "\n".join([f"{title} {note}", *lines, *members])


def _simulated(nodes: list[NodeStatus]) -> list[tuple[str, str, str, str, str]]:
    """One row for each process with agents: a hundred nodes would hide the others."""
    crews: dict[int | None, list[NodeStatus]] = {}
    for node in nodes:
        crews.setdefault(node.agent_pid, []).append(node)
    rows = []
    for pid, crew in crews.items():
        first, last = crew[0], crew[-1]
        name = first.name if first is last else f"{len(crew)} simulated: {first.name} … {last.name}"
        known = [len(node.guests) for node in crew if node.guests is not None]
        guests = "?" if len(known) < len(crew) else f"{sum(known)} up" if sum(known) else "-"
        rows.append((name, first.primary_ip, str(pid or "down"), "-", guests))
    return rows


def environment(directory: Path) -> str:
    """Lines for a shell's ``eval``: the programs of the first node, and its root."""
    layout = Layout(directory)
    about = description.required(layout.directory)
    root = layout.root(about.nodes[0])
    return (
        f'export PATH={shlex.quote(str(root / "bin"))}:"$PATH"\n'
        f"export GANTRY_ROOT={shlex.quote(str(root))}\n"
    )
