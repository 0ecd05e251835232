"""What the API offers beside jobs, made of the master's parts."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gantry.api.services import ConsoleStream, LockRow
from gantry.jobs.queue import Engine
from gantry.main import backups
from gantry.main import store as stores
from gantry.model import timeouts
from gantry.model.entities import Bundle, Node
from gantry.model.errors import GantryError, Unavailable, from_info
from gantry.model.jobs import JobStatus, Submission
from gantry.model.names import Uuid
from gantry.model.orders import OsDiagnose, OsList, Question
from gantry.pki import files as certificates
from gantry.pki.tokens import create, encode, secret_hash
from gantry.ports.agents import Address
from gantry.ports.clock import Clock
from gantry.rpc.client import HttpAgents
from gantry.supervision.hook_runs import HookRuns
from gantry.supervision.states import States
from gantry.supervision.supervisor import addresses

if TYPE_CHECKING:
    # Brings in cryptography, which a master on one node alone may never need.
    from gantry.pki.joining import JoinBundle, JoinRequest

A = TypeVar("A", bound=msgspec.Struct)


class MasterServices:
    """Implements ``gantry.api.services.Services``."""

    def __init__(
        self,
        root: Path,
        engine: Engine,
        agents: HttpAgents,
        states: States,
        hook_runs: HookRuns,
        clock: Clock,
        api_address: str,
        end: Callable[[], None],
    ) -> None:
        self._root = root
        self._engine = engine
        self._agents = agents
        self._states = states
        self.hook_runs = hook_runs
        self._clock = clock
        self._api_address = api_address
        self._end = end

    async def console(self, address: Address, instance: Uuid) -> ConsoleStream:
        """Attach to the console of a guest."""
        return await self._agents.console(address, instance)

    async def diagnose_oses(self) -> Mapping[str, OsList]:
        """Ask every node that can run guests what it has, now."""
        cluster = self._engine.snapshot()
        asked = [one for one in addresses(cluster) if cluster.nodes[one.node].vm_capable]
        answers = await asyncio.gather(*(self._diagnose(one) for one in asked))
        for one, answer in zip(asked, answers, strict=True):
            if answer is not None:
                self._states.oses(one.node, answer.oses)
        return {
            one.name: answer
            for one, answer in zip(asked, answers, strict=True)
            if answer is not None
        }

    async def ask_nodes(
        self, nodes: Sequence[Uuid], question: Question[A], timeout: float = timeouts.READ
    ) -> dict[str, A | GantryError]:
        """Ask all of these nodes at once."""
        cluster = self._engine.snapshot()
        asked = [cluster.nodes[uuid] for uuid in nodes if uuid in cluster.nodes]
        answers = await asyncio.gather(*(self._ask(one, question, timeout) for one in asked))
        return {one.name: answer for one, answer in zip(asked, answers, strict=True)}

    async def keep_bundle(self, target: str, packed: bytes) -> Bundle:
        """Keep a bundle for a job to push."""
        return await self._engine.uploads.bundle(target, packed)

    def ca_certificate(self) -> str:
        """The cluster's CA, PEM."""
        return certificates.certificate(self._root, certificates.CA).read_text()

    async def accept_join(self, request: JoinRequest) -> JoinBundle:
        """Use the token up by a job, then issue the certificate."""
        from gantry.pki import joining
        from gantry.pki.authority import Authority

        joining.check(request)
        result: Any = await self._job(
            {
                "OP_ID": "OP_NODE_JOIN",
                "secret_hash": secret_hash(request.secret),
                "node_uuid": self._clock.uuid(),
                "primary_ip": request.address,
                "port": request.port,
            },
            f"join from {request.address}",
        )
        name, node = result
        authority = Authority.load(self._root)
        cluster = self._engine.snapshot().cluster.name
        return joining.accept(
            authority,
            request,
            node=node,
            name=name,
            cluster_name=cluster,
            now=self._clock.now(),
        )

    async def create_token(self, name: str) -> str:
        """The text that lets one machine join."""
        from gantry.pki.authority import Authority

        token = create(
            self._api_address,
            Authority.load(self._root).fingerprint,
            self._clock.random_bytes(32),
            self._other_addresses(),
        )
        await self._job(
            {
                "OP_ID": "OP_TOKEN_CREATE",
                "node_name": name,
                "secret_hash": secret_hash(token.secret),
            },
            "gantry token",
        )
        return encode(token)

    def _other_addresses(self) -> tuple[str, ...]:
        """Where the API would be if another candidate became the master."""
        cluster = self._engine.snapshot()
        port = self._api_address.rpartition(":")[2]
        return tuple(
            f"[{node.primary_ip}]:{port}" if ":" in node.primary_ip else f"{node.primary_ip}:{port}"
            for node in cluster.nodes.values()
            if node.master_candidate and not node.offline and node.uuid != cluster.master.uuid
        )

    def locks(self) -> Sequence[LockRow]:
        """All locks that somebody holds or waits for."""
        return self._engine.locks()

    async def backup_state(self) -> str:
        """Copy the state now."""
        taken = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        made = await backups.back_up(self._root, self._root / backups.DIRECTORY, taken)
        return str(made.file)

    async def store(self) -> Mapping[str, Any]:
        """Where the state is, and how that is."""
        return await stores.described(self._root)

    async def destroyed(self) -> None:
        """The cluster is no more."""
        self._end()

    async def _ask(self, node: Node, question: Question[A], timeout: float) -> A | GantryError:
        if node.offline:
            return Unavailable(f"node {node.name} is marked offline", node=node.name)
        live = self._engine.snapshot().node_live(node.uuid)
        if not live.reachable:
            # Nobody waits for one that is known to be away.
            why = live.problem or "it has not been heard of yet"
            text = why if node.name in why else f"node {node.name} does not answer: {why}"
            return Unavailable(text, node=node.name)
        to = Address(node=node.uuid, name=node.name, host=node.primary_ip, port=node.port)
        try:
            return await self._agents.ask(to, question, timeout)
        except GantryError as error:
            return error

    async def _diagnose(self, to: Address) -> OsList | None:
        try:
            return await self._agents.ask(to, OsDiagnose(), timeouts.FAST)
        except Unavailable:
            return None

    async def _job(self, operation: dict[str, object], why: str) -> object:
        """Run one internal operation to its end and give back its result."""
        request = hashlib.sha256(self._clock.random_bytes(32)).hexdigest()
        number = await self._engine.submit(
            Submission(
                ops=(operation,),
                request_id=request,
                reason=(("gnt:master", why, int(self._clock.now() * 1e9)),),
                requester="gnt:master",
            ),
            internal=True,
        )
        job = await self._engine.wait(number)
        if job.status is JobStatus.SUCCESS:
            return job.ops[0].result
        errors: Iterable[GantryError] = (from_info(op.error) for op in job.ops if op.error)
        raise next(iter(errors), GantryError(f"job {number} ended as {job.status}"))
