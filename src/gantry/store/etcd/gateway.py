"""Requests to the members of one etcd cluster: failover, time limits, logins; no store here.

Every request may be sent again, to another member, while nobody knows what became of the
first: whoever makes requests makes them such that this does no harm.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

import aiohttp
import msgspec

from gantry.model import timeouts
from gantry.model.errors import Reason
from gantry.ports.store import StoreUnavailable
from gantry.store.etcd import problems, wire
from gantry.store.etcd.access import Access, password, tls
from gantry.store.etcd.problems import Fault, Kind, Refused

A = TypeVar("A")

_LOST: Final = (aiohttp.ClientError, OSError, EOFError)
_HAS_LEADER: Final = {"Grpc-Metadata-hasleader": "true"}
"""A member that knows no leader says so at once, and ends its watches."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: of each try in turn, and of all together."""

    tries: tuple[float, ...] = timeouts.STORE_TRIES
    whole: float = timeouts.STORE_UNAVAILABLE

    def of(self, attempt: int) -> float:
        """The time of one try, counted from 0."""
        return self.tries[min(attempt, len(self.tries) - 1)]


class Answer(msgspec.Struct, Generic[A], frozen=True):
    """``doubtful``: a try before this one may have been carried out, or still be."""

    value: A
    doubtful: bool
    endpoint: str


class Gateway:
    """Make it in the event loop; ``close`` it in the end."""

    def __init__(self, access: Access, patience: Patience) -> None:
        """Rejected where a certificate's file cannot be used."""
        self.patience = patience
        self.endpoints = tuple(url.rstrip("/") for url in access.endpoints)
        self._access = access
        self._current = 0
        self._token = ""
        self._login = asyncio.Lock()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls(access) or True, limit=0),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.STORE_TRIES[0]),
        )

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._session.closed

    async def close(self) -> None:
        """Break everything off."""
        await self._session.close()

    async def call(
        self,
        path: str,
        request: wire.Request,
        kind: type[A],
        *,
        patience: Patience | None = None,
    ) -> Answer[A]:
        """Send it to one member after the other until one answers.

        Raises Refused (a definite no), and StoreUnavailable: nobody answered in time, or only
        an operator can mend it.
        """
        patience = patience or self.patience
        loop = asyncio.get_running_loop()
        body = msgspec.json.encode(request)
        deadline = loop.time() + patience.whole
        faults: dict[str, Fault] = {}
        for attempt in itertools.count():
            endpoint = self.endpoints[self._current]
            limit = min(patience.of(attempt), deadline - loop.time())
            try:
                value = await self._try(endpoint, path, body, kind, limit)
            except Refused as refused:
                raise _definite(refused) from None
            except Fault as fault:
                faults[endpoint] = fault
                self.avoid(endpoint)
            else:
                return Answer(value, bool(faults), endpoint)
            given_up = len(faults) == len(self.endpoints) and all(
                fault.lasting for fault in faults.values()
            )
            pause = self._pause(attempt)
            if given_up or loop.time() + pause >= deadline:
                raise problems.unavailable(faults, patience.whole)
            await asyncio.sleep(pause)
        raise AssertionError

    async def ask(
        self,
        endpoint: str,
        path: str,
        request: wire.Request,
        kind: type[A],
        seconds: float | None = None,
    ) -> A:
        """Ask this one member, once; raises Fault, Refused, StoreUnavailable."""
        body = msgspec.json.encode(request)
        try:
            return await self._try(endpoint, path, body, kind, seconds or self.patience.of(0))
        except Refused as refused:
            raise _definite(refused) from None

    def avoid(self, endpoint: str) -> None:
        """Go on with the next member, unless that was done already."""
        if self.endpoints[self._current] == endpoint:
            self._current = (self._current + 1) % len(self.endpoints)

    @asynccontextmanager
    async def stream(
        self, path: str, request: wire.Request
    ) -> AsyncIterator[tuple[str, aiohttp.StreamReader]]:
        """The present member, and its answer as it comes; raises Fault, Refused.

        The block may raise what the connection raises: it becomes a Fault.
        """
        endpoint = self.endpoints[self._current]
        self._check_open()
        try:
            async with asyncio.timeout(self.patience.of(1)):
                token = await self._authenticated(endpoint)
            # It answers at once, though maybe with nothing yet.
            async with asyncio.timeout(self.patience.of(1)):
                response = await self._session.post(
                    endpoint + path, data=msgspec.json.encode(request), headers=self._headers(token)
                )
            async with response:
                if response.status != 200:
                    raise problems.judged(response.status, await response.read())
                yield endpoint, response.content
        except _LOST as error:
            raise problems.of_connection(error) from error

    def forget_login(self) -> bool:
        """The next request logs in again; False where there is no user who could."""
        self._token = ""
        return self._access.user is not None

    async def _try(self, endpoint: str, path: str, body: bytes, kind: type[A], limit: float) -> A:
        try:
            async with asyncio.timeout(limit):
                token = await self._authenticated(endpoint)
                try:
                    return await self._post(endpoint, path, body, kind, token)
                except Refused as refused:
                    if refused.kind is not Kind.TOKEN:
                        raise
                    if self._token == token:
                        self._token = ""
                token = await self._authenticated(endpoint, wanted=True)
                return await self._post(endpoint, path, body, kind, token)
        except TimeoutError as error:
            raise problems.of_connection(error) from error

    async def _post(self, endpoint: str, path: str, body: bytes, kind: type[A], token: str) -> A:
        self._check_open()
        try:
            async with self._session.post(
                endpoint + path, data=body, headers=self._headers(token)
            ) as response:
                data = await response.read()
        except _LOST as error:
            self._check_open()
            raise problems.of_connection(error) from error
        if response.status != 200:
            raise problems.judged(response.status, data)
        try:
            return wire.decode(data, kind)
        except msgspec.MsgspecError as error:
            raise Fault(f"it does not answer as etcd does ({error})", lasting=True) from error

    async def _authenticated(self, endpoint: str, *, wanted: bool = False) -> str:
        """The token, "" without a user; ``wanted``: etcd has asked for one."""
        user = self._access.user
        if user is None:
            if wanted:
                raise problems.needs_login()
            return ""
        async with self._login:
            if not self._token:
                login = msgspec.json.encode(wire.Login(user, password(self._access)))
                try:
                    got = await self._post(endpoint, wire.AUTHENTICATE, login, wire.Token, "")
                    self._token = got.token
                except Refused as refused:
                    # Without users switched on any request is taken, until they are.
                    if "not enabled" not in refused.message or wanted:
                        raise problems.wrong_login(user, refused.message) from None
        return self._token

    def _headers(self, token: str) -> dict[str, str]:
        return {**_HAS_LEADER, "Authorization": token} if token else _HAS_LEADER

    def _pause(self, attempt: int) -> float:
        """Before the next try; none as long as there are members that were not asked."""
        rounds, place = divmod(attempt + 1, len(self.endpoints))
        pauses = timeouts.STORE_PAUSES
        return 0.0 if place else pauses[min(rounds, len(pauses)) - 1]

    def _check_open(self) -> None:
        if self._session.closed:
            raise StoreUnavailable("the store is closed")


def _definite(refused: Refused) -> Exception:
    """The refusals that somebody acts upon stay; any other is for the operator."""
    if refused.kind in (Kind.LEASE, Kind.COMPACTED, Kind.FUTURE):
        return refused
    return StoreUnavailable(
        f"etcd refuses a request: {refused.message}",
        "its limits must be at least the defaults: --max-txn-ops 128, --max-request-bytes 1572864",
        reason=Reason.ENVIRONMENT,
    )
