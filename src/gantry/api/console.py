"""``instances/NAME/console``: a guest's console as a WebSocket; bytes both ways, binary frames."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from gantry.api.errors import Forbidden
from gantry.api.exchange import ENDING
from gantry.api.query.listing import Listings
from gantry.api.query.view import View
from gantry.api.services import ConsoleStream, Services
from gantry.model import timeouts
from gantry.model.entities import Instance
from gantry.model.errors import GantryError, Reason, Rejected, Unavailable
from gantry.ports.agents import Address

_MOST_TYPED: Final = 64 * 1024
"""Bytes of one frame of a client."""


class Console:
    """The handler."""

    def __init__(self, listings: Listings, services: Services) -> None:
        self._listings = listings
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [web.get("/gantry/1/instances/{name}/console", self.attach)]

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """Errors before the console is there are plain answers; later ones a frame of text."""
        _same_origin(request)
        view = self._listings.view()
        instance = view.cluster.instance(request.match_info["name"])
        # First, so that a plain request is told why there is none.
        address = _address(view, instance)
        socket = web.WebSocketResponse(
            max_msg_size=_MOST_TYPED, heartbeat=timeouts.CLIENT_READ, compress=False
        )
        if not socket.can_prepare(request):
            raise Rejected("a console is a WebSocket", "gnt-instance console opens one")
        stream = await self._services.console(address, instance.uuid)
        try:
            await socket.prepare(request)
            await _carry(socket, stream, request.app[ENDING])
        except ConnectionError:
            # The client is gone; the guest does not mind.
            pass
        finally:
            await stream.close()
        return socket


async def _carry(
    socket: web.WebSocketResponse, stream: ConsoleStream, ending: asyncio.Future[None]
) -> None:
    """Both ways until either end is over, or the master stops."""
    tasks = {asyncio.create_task(_show(socket, stream)), asyncio.create_task(_type(socket, stream))}
    try:
        done, _ = await asyncio.wait({*tasks, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except GantryError as error:
        await socket.send_str(f"{error.message}\r\n")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close()


async def _show(socket: web.WebSocketResponse, stream: ConsoleStream) -> None:
    async for data in stream.output():
        await socket.send_bytes(data)


async def _type(socket: web.WebSocketResponse, stream: ConsoleStream) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await stream.write(message.data)
        elif message.type is WSMsgType.TEXT:
            await stream.write(message.data.encode())


def _address(view: View, instance: Instance) -> Address:
    """Where the guest is now; Rejected or Unavailable where there is no console to be had."""
    uuid = instance.primary_node
    if instance.uuid in view.elsewhere:
        uuid = view.elsewhere[instance.uuid][0]
    node, live = view.node(uuid), view.live(uuid)
    if node is None or node.offline or not live.reachable:
        raise Unavailable(
            f"the node of instance {instance.name} does not answer",
            "gnt-node list shows its state",
            node=view.node_name(uuid),
            object_name=instance.name,
        )
    guest = live.guests.get(instance.uuid)
    if guest is None or not guest.up:
        raise Rejected(
            f"instance {instance.name} is not running",
            f"gnt-instance start {instance.name}",
            reason=Reason.STATE,
            node=node.name,
            object_name=instance.name,
        )
    return Address(node=node.uuid, name=node.name, host=node.primary_ip, port=node.port)


def _same_origin(request: web.Request) -> None:
    """A foreign page in an operator's browser must not get a console."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Forbidden(f"a page of {origin} may not open a console here")
