"""``gantry local up``: bring a cluster up, from nothing or from what is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from gantry.local import addresses, description, etcd, files, kernel, processes, simulation
from gantry.local.description import CLUSTER, Description, LocalNode
from gantry.local.layout import Layout, Role
from gantry.local.operator import Operator
from gantry.local.plan import Kind, Step, nodes_for, plan, simulated_for
from gantry.local.progress import Progress
from gantry.model.errors import OperationFailed, Reason, Rejected


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asked for; None where nothing was said."""

    nodes: int | None = None
    simulated: int | None = None
    hypervisors: tuple[str, ...] | None = None
    store: str | None = None
    kernel: bool = True
    hooks_version: int = 1


class Cluster:
    """A local cluster that is being brought up, or has been."""

    def __init__(self, layout: Layout, about: Description, progress: Progress) -> None:
        self.layout = layout
        self.about = about
        self.progress = progress

    @property
    def first(self) -> LocalNode:
        """The node with the master."""
        return self.about.nodes[0]

    def node(self, number: int) -> LocalNode:
        """A node by its number."""
        return next(node for node in self.about.nodes if node.number == number)

    def operator(self, node: LocalNode | None = None) -> Operator:
        """Somebody who types on a node, by default on the master's."""
        return Operator(self.layout, node or self.first)

    def note(self, about: Description) -> None:
        """Write down what is true from now on."""
        description.save(self.layout.directory, about)
        self.about = about

    async def carry_out(self) -> None:
        """Do all that is to be done; may be repeated after any failure."""
        steps = plan(self.about)
        for step in steps:
            if step.kind not in (Kind.AGENT, Kind.MASTER):
                await self._step(step)
                continue
            same = [one.node for one in steps if one.kind is step.kind]
            if step.node == same[0]:
                await self._start([self.node(number) for number in same], step.kind)
                if step.kind is Kind.MASTER:
                    await processes.await_master(self.layout, self.about.nodes)
                    await self._let_go_of_removed()

    async def _start(self, nodes: list[LocalNode], kind: Kind) -> None:
        """The daemons of one kind on several nodes, at the same time."""
        role = Role.AGENT if kind is Kind.AGENT else Role.MASTER
        what = f"the {role}" if len(nodes) == 1 else f"the {role}s"
        names = ", ".join(node.label for node in nodes)
        async with self.progress.step(f"starting {what} of {names}"):
            results = await asyncio.gather(
                *(processes.start(self.layout, node, role) for node in nodes),
                return_exceptions=True,
            )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _step(self, step: Step) -> None:
        node = self.node(step.node)
        match step.kind:
            case Kind.FILES:
                files.make(self.layout, node)
            case Kind.STORE | Kind.INITIALISE:
                await (self._start_store() if step.kind is Kind.STORE else self._make(node))
            case Kind.SIMULATE | Kind.JOIN_SIMULATED:
                await (self._simulate() if step.kind is Kind.SIMULATE else self._join_simulated())
            case Kind.JOIN:
                async with self.progress.step(f"joining {node.name}"):
                    await self.join(node)
            case Kind.KERNEL | Kind.RESUME:
                await (self._kernel() if step.kind is Kind.KERNEL else self._resume())

    async def _kernel(self) -> None:
        async with self.progress.step("a kernel for guests of OS busybox"):
            await kernel.provide(self.layout, self.operator())
        self.note(msgspec.structs.replace(self.about, kernel_set=True))

    async def _resume(self) -> None:
        await maintain(self.operator(), True)
        self.note(msgspec.structs.replace(self.about, resting=False))

    async def _make(self, node: LocalNode) -> None:
        async with self.progress.step(f"making the cluster {CLUSTER} on {node.label}"):
            await self._initialise(node)

    async def _start_store(self) -> None:
        async with self.progress.step("starting the three members of etcd"):
            if not self.about.initialised:
                # What an attempt that was cut off has put there, nobody uses.
                await etcd.remove(self.layout, self.about)
            await etcd.start(self.layout, self.about)

    async def names(self) -> set[str]:
        """The nodes that the cluster has."""
        rows = await self.operator().rows("gnt-node", "list", "-o", "name")
        return {str(row["name"]) for row in rows}

    async def _let_go_of_removed(self) -> None:
        """Nodes that an operator took out with gnt-node remove are none of ours any more."""
        members = [node for node in (*self.about.nodes[1:], *self.about.simulated) if node.member]
        if not members:
            return
        there = await self.names()
        gone = [node for node in self.about.simulated if node.member and node.name not in there]
        if gone:
            self.progress.say(f"not in the cluster any more: {', '.join(n.name for n in gone)}")
            kept = tuple(node for node in self.about.simulated if node not in gone)
            await simulation.start(self.layout, kept)
            for crew in set(self.about.crews) - {node.crew for node in kept}:
                await processes.stop(self.layout, crew, Role.SIMULATE)
            self.note(msgspec.structs.replace(self.about, simulated=kept))
        for node in self.about.nodes:
            if node.member and node.name not in there:
                self.progress.say(f"{node.name} is not in the cluster any more")
                for role in (Role.MASTER, Role.AGENT):
                    await processes.stop(self.layout, node, role)
                left = tuple(one for one in self.about.nodes if one != node)
                self.note(msgspec.structs.replace(self.about, nodes=left))

    async def _simulate(self) -> None:
        members = [node for node in self.about.simulated if node.member]
        async with self.progress.step(f"starting the agents of {counted(len(members))}"):
            await simulation.start(self.layout, members)

    async def _join_simulated(self) -> None:
        """All new ones at once; those that a cut-off attempt has brought in already stay."""
        there = await self.names()
        new = [node for node in self.about.simulated if node.name not in there]
        async with self.progress.step(f"joining {counted(len(new))}"):
            await simulation.prepare(self.layout, self.about, new)
            await simulation.start(self.layout, self.about.simulated)
            await simulation.add(self.layout.root(self.first), new)
        members = (msgspec.structs.replace(node, member=True) for node in self.about.simulated)
        self.note(msgspec.structs.replace(self.about, simulated=tuple(members)))

    async def _initialise(self, node: LocalNode) -> None:
        # Whatever is there is of an attempt that was cut off: nothing was in use yet.
        for other in self.about.nodes:
            for role in (Role.MASTER, Role.AGENT):
                await processes.stop(self.layout, other, role)
            files.remove(self.layout, other)
        files.make(self.layout, node)
        await self.operator(node).run(
            "gnt-cluster",
            "init",
            "--node-name",
            node.name,
            "--primary-ip",
            self.about.primary(node),
            "-s",
            self.about.secondary(node),
            "--port",
            str(description.AGENT_PORT),
            "--api-port",
            str(description.API_PORT),
            "--enabled-hypervisors",
            ",".join(self.about.hypervisors),
            "--hooks-version",
            str(self.about.hooks_version),
            "-N",
            "mode=user",
            "--no-name-check",
            "--no-ip-check",
            *etcd.options(self.layout, self.about),
            CLUSTER,
        )
        self.note(self.about.with_node(msgspec.structs.replace(node, member=True)))

    async def join(self, node: LocalNode) -> None:
        """Make a new machine, let it join with a token, and add it as a node."""
        if node.name not in await self.names():
            for role in (Role.MASTER, Role.AGENT):
                await processes.stop(self.layout, node, role)
            files.remove(self.layout, node)
            files.make(self.layout, node)
            token = (await self.operator().run("gantry", "token", node.name)).stdout
            await self.operator(node).run(
                "gantry",
                "join",
                "--address",
                self.about.primary(node),
                "--port",
                str(description.AGENT_PORT),
                stdin=token,
            )
            await processes.start(self.layout, node, Role.AGENT)
            address = self.about.secondary(node)
            await asyncio.gather(
                self.operator().run("gnt-node", "add", "-s", address, node.name),
                processes.start(self.layout, node, Role.MASTER),
            )
        else:
            files.make(self.layout, node)
            for role in (Role.AGENT, Role.MASTER):
                await processes.start(self.layout, node, role)
        self.note(self.about.with_node(msgspec.structs.replace(node, member=True)))


def counted(simulated: int) -> str:
    """So many simulated nodes, in words."""
    return "1 simulated node" if simulated == 1 else f"{simulated} simulated nodes"


async def maintain(operator: Operator, wanted: bool) -> None:
    """Let supervision start guests again, or not; fine where it is so already."""
    word = "yes" if wanted else "no"
    done = await operator.run("gnt-cluster", "modify", "--maintain-node-health", word, check=False)
    said = (done.stderr + done.stdout).decode(errors="replace").strip()
    if done.status != 0 and "nothing to change" not in said:
        raise OperationFailed(
            f"cannot set --maintain-node-health {word}: {said}",
            "see gnt-cluster info and the hooks of cluster-modify",
        )


async def up(directory: Path, wishes: Wishes, progress: Progress) -> Cluster:
    """Bring up the cluster in ``directory``; a new one, the old one, or the rest of one."""
    layout = Layout(directory)
    layout.check()
    layout.make()
    with layout.locked():
        about = described(layout, wishes)
        cluster = Cluster(layout, about, progress)
        await cluster.carry_out()
        return cluster


def described(layout: Layout, wishes: Wishes) -> Description:
    """The description to work to; saved, so that a repetition finds it."""
    about = description.load(layout.directory)
    if about is None:
        about = _new(layout, wishes)
    if wishes.hypervisors is not None and set(wishes.hypervisors) != set(about.hypervisors):
        raise Rejected(
            f"the cluster in {layout.directory} was made with hypervisors "
            + ",".join(about.hypervisors),
            "leave --hypervisors out; to change them: gnt-cluster modify --enabled-hypervisors",
            reason=Reason.STATE,
        )
    if wishes.store not in (None, about.store):
        raise Rejected(
            f"the cluster in {layout.directory} was made with its state in {about.store}",
            "leave --store out; another store is for a new cluster",
            reason=Reason.STATE,
        )
    changed = msgspec.structs.replace(
        about,
        nodes=nodes_for(about.nodes, wishes.nodes),
        simulated=simulated_for(about.simulated, wishes.simulated),
    )
    if changed.simulated and not changed.simulated_block:
        return _with_block(layout, changed)
    if changed != about:
        description.save(layout.directory, changed)
    return changed


def _with_block(layout: Layout, about: Description) -> Description:
    """The same with addresses for simulated nodes; saved."""

    def save(block: str) -> None:
        description.save(layout.directory, msgspec.structs.replace(about, simulated_block=block))

    block = addresses.claim(layout.directory, save, besides=about.block)
    return msgspec.structs.replace(about, simulated_block=block)


def _new(layout: Layout, wishes: Wishes) -> Description:
    strange = [
        entry.name
        for entry in layout.directory.iterdir()
        if entry.name not in ("lock", "processes", "shared-file-storage", "guest-kernel")
        and not entry.name.startswith(".local.")
    ]
    if strange:
        raise Rejected(
            f"{layout.directory} has other files, such as {strange[0]}, and no local cluster",
            "choose an empty or a new directory with --dir",
            reason=Reason.STATE,
        )
    made: list[Description] = []
    # Simulated nodes have guests of the fake hypervisor only, and one real node is enough then.
    hypervisors = wishes.hypervisors or (("fake",) if wishes.simulated else ("kvm", "fake"))
    nodes = wishes.nodes if wishes.nodes is not None or not wishes.simulated else 1

    def save(block: str) -> None:
        about = Description(
            block=block,
            nodes=nodes_for((), nodes),
            hypervisors=hypervisors,
            store=wishes.store or description.SQLITE,
            kernel=wishes.kernel and "kvm" in hypervisors,
            hooks_version=wishes.hooks_version,
        )
        description.save(layout.directory, about)
        made.append(about)

    addresses.claim(layout.directory, save)
    return made[0]


async def add_node(directory: Path, progress: Progress) -> LocalNode:
    """One more node, by a real join. The cluster must be up."""
    layout = Layout(directory)
    about = description.required(layout.directory)
    with layout.locked():
        if not await processes.has_master(layout, about.nodes):
            raise Rejected(
                "the cluster is not up: its master does not run",
                f"gantry local up --dir {layout.directory}",
                reason=Reason.STATE,
            )
        nodes = nodes_for(about.nodes, len(about.nodes) + 1)
        cluster = Cluster(layout, about, progress)
        cluster.note(msgspec.structs.replace(about, nodes=nodes))
        async with progress.step(f"joining {nodes[-1].name}"):
            await cluster.join(nodes[-1])
        return nodes[-1]
