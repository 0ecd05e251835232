"""One key a writer, which tells what became of a request that nobody answered.

Every request that writes puts its random name there, comparing the name of the one before. So
it is carried out at most once however often it is sent, none is carried out after a later one,
and the slot says which was the last.
"""

from __future__ import annotations

import secrets
from typing import Final

from gantry.model import timeouts
from gantry.model.errors import Reason
from gantry.ports.store import StoreLocked
from gantry.store.etcd import wire
from gantry.store.etcd.gateway import Gateway, Patience

_FAREWELL: Final = Patience(whole=timeouts.STORE_TRIES[0])


def new_name() -> bytes:
    """Of one request."""
    return secrets.token_hex(12).encode()


class Slot:
    """The slot of the writer that calls itself ``key``; one process at a time has it."""

    def __init__(self, gateway: Gateway, key: bytes) -> None:
        self.key = key
        self.holds: bytes | None = None
        """The name that it has, b"" where there is no slot yet, None where it is not known."""
        self._gateway = gateway
        self._ours: set[bytes] = set()
        self._mine = False

    async def prepare(self) -> bytes:
        """What it holds, for the next request to compare; takes it where that became unclear.

        At first it is what a process before this one left there. Raises StoreLocked where another
        process has taken it.
        """
        if self.holds is None and self._ours:
            await self.take()
        elif self.holds is None:
            self.holds = (await self._read()).value
        return self.holds or b""

    def expect(self, name: bytes) -> None:
        """A request of this name is sent."""
        self._ours = {self.holds or b"", name}

    def settle(self, name: bytes) -> None:
        """The slot is known to hold ``name``, of ours."""
        self._mine = True
        self.holds = name
        self._ours = {name}

    def adopt(self, name: bytes) -> bool:
        """Compare ``name`` from now on; False where the slot was ours already."""
        if self._mine:
            return False
        self.holds = name
        return True

    def lose(self) -> None:
        """It may hold the former name or the one that was sent."""
        self.holds = None

    async def take(self) -> wire.KeyValue:
        """Put a new name there, so that no request sent before can be carried out any more.

        Answers what was there. Raises StoreLocked where another process has taken it.
        """
        name = new_name()
        replaced = wire.KeyValue()
        while True:
            before = await self._read()
            if before.value == name:
                # An answer to the put was lost; what it replaced is known from the round before.
                self.settle(name)
                return replaced
            if self._ours and before.value not in self._ours:
                raise self.taken()
            replaced = before
            if self._ours:
                self._ours.add(name)
            put = wire.TxnRequest(
                compare=(wire.Comparison(self.key, "MOD", before.mod_revision),),
                success=(wire.Op(request_put=wire.PutRequest(self.key, name)),),
            )
            answer = await self._gateway.call(wire.TXN, put, wire.TxnAnswer)
            if answer.value.succeeded:
                self.settle(name)
                return before

    async def _read(self) -> wire.KeyValue:
        found = await self._gateway.call(wire.RANGE, wire.RangeRequest(self.key), wire.RangeAnswer)
        return next(iter(found.value.kvs), wire.KeyValue())

    def taken(self) -> StoreLocked:
        """Another process writes under the same name."""
        self.lose()
        return StoreLocked(
            "another process writes to etcd in the place of this one",
            "only one master may run on a node, with one prefix: stop the other one first",
            reason=Reason.STATE,
        )

    async def remove(self) -> None:
        """Leave nothing behind; only for a writer whose name is never used again."""
        request = wire.TxnRequest(
            success=(wire.Op(request_delete_range=wire.DeleteRequest(self.key)),)
        )
        await self._gateway.call(wire.TXN, request, wire.TxnAnswer, patience=_FAREWELL)
