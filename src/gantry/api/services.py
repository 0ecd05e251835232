"""What the API offers and the job queue does not: the master process fills it in.

Contracts only. Methods raise GantryError, ``Unavailable`` where a node does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from gantry.model import timeouts
from gantry.model.entities import Bundle
from gantry.model.errors import GantryError
from gantry.model.hook_runs import HookRun, HookRunChoice
from gantry.model.names import Uuid
from gantry.model.orders import OsList, Question
from gantry.ports.agents import Address

if TYPE_CHECKING:
    # Brings in cryptography.
    from gantry.pki.joining import JoinBundle, JoinRequest

A = TypeVar("A", bound=msgspec.Struct)


class ConsoleStream(Protocol):
    """A guest's console, attached."""

    def output(self) -> AsyncIterator[bytes]:
        """What the guest writes; ends when the console does."""

    async def write(self, data: bytes) -> None:
        """Type into the console."""

    async def close(self) -> None:
        """Detach."""


class LockRow(Protocol):
    """One lock; ``owners`` and ``pending`` are jobs."""

    @property
    def name(self) -> str:
        """Kind and object, such as ``node/<uuid>``."""

    @property
    def mode(self) -> str | None:
        """``shared``, ``exclusive``; None where nobody holds it."""

    @property
    def owners(self) -> Sequence[int]:
        """Who holds it."""

    @property
    def pending(self) -> Sequence[int]:
        """Who waits for it."""


class HookRuns(Protocol):
    """What hook scripts did, in the whole cluster."""

    async def find(self, choice: HookRunChoice) -> Sequence[HookRun]:
        """Those that were chosen, newest first."""

    async def get(self, run: str) -> HookRun | None:
        """One run by its id, or by a beginning of it that no other has."""

    def missed(self, node: Address) -> None:
        """There are runs on that node that nobody told of: fetch them."""


class Services(Protocol):
    """Everything that is not a job."""

    @property
    def hook_runs(self) -> HookRuns:
        """The index of runs."""

    async def console(self, address: Address, instance: Uuid) -> ConsoleStream:
        """Attach to the console of a guest on the node at ``address``."""

    async def diagnose_oses(self) -> Mapping[str, OsList]:
        """What every node that counts (online, can run guests) has, by node name, asked now."""

    async def ask_nodes(
        self, nodes: Sequence[Uuid], question: Question[A], timeout: float = timeouts.READ
    ) -> dict[str, A | GantryError]:
        """Ask all of these nodes at once: by node name the answer, or why there is none.

        A node that is marked offline, or known to be away, is not asked, and that is why.
        """

    async def keep_bundle(self, target: str, packed: bytes) -> Bundle:
        """Keep a bundle of that target for a job to push; Rejected where these bytes are none."""

    def ca_certificate(self) -> str:
        """The cluster's CA, PEM: no secret; a machine compares it with its token."""

    async def accept_join(self, request: JoinRequest) -> JoinBundle:
        """Use the token up by a job, then issue the certificate: the bundle for the machine.

        Rejected where the token is not valid; only the job decides that.
        """

    async def create_token(self, name: str) -> str:
        """The text that lets the machine ``name`` join once within the hour."""

    def locks(self) -> Sequence[LockRow]:
        """All locks that somebody holds or waits for."""

    async def store(self) -> Mapping[str, Any]:
        """Where the state is kept and how that is: ``kind``, and for etcd ``members``."""

    async def backup_state(self) -> str:
        """Copy the cluster's state; the path of the copy on the master."""

    async def destroyed(self) -> None:
        """The cluster is no more: end the master when this request is answered."""
