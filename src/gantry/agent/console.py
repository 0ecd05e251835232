"""A guest's serial console over a WebSocket; the bytes are not looked at."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType

from gantry.agent.parts import Parts
from gantry.hypervisors.contract import Console
from gantry.model import timeouts
from gantry.model.errors import GantryError, Rejected
from gantry.model.names import Uuid, is_uuid
from gantry.model.orders import Nothing
from gantry.network import web
from gantry.rpc import wire


async def serve(parts: Parts, request: web.BaseRequest) -> web.StreamResponse:
    """One attached console, until either side closes it.

    The first frame is text: an answer (it is open) or an error; then binary frames.
    """
    uuid = request.path.removeprefix(wire.CONSOLE)
    socket = web.WebSocketResponse(heartbeat=timeouts.CLIENT_READ)
    await socket.prepare(request)
    try:
        if not is_uuid(uuid):
            raise Rejected(f"{uuid!r} is not a uuid")
        attached = await parts.hypervisor_of(Uuid(uuid)).console(Uuid(uuid))
    except GantryError as error:
        await socket.send_str(wire.error(error.info()).decode())
        await socket.close()
        return socket
    try:
        await socket.send_str(wire.answer(Nothing()).decode())
        await _pump(socket, attached)
    finally:
        await attached.close()
        await socket.close()
    return socket


async def _pump(socket: web.WebSocketResponse, attached: Console) -> None:
    async def out() -> None:
        async for data in attached.output():
            await socket.send_bytes(data)

    async def typed() -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await attached.write(message.data)

    tasks = [asyncio.ensure_future(out()), asyncio.ensure_future(typed())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
