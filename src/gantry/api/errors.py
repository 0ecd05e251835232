"""Errors as HTTP answers: the one table from class to status, and the body's shape.

Nothing is decided here about what is wrong; that is the business of whoever raises.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from gantry.model.errors import (
    GantryError,
    HooksDenied,
    OperationFailed,
    Reason,
    Rejected,
    Superseded,
    Unavailable,
)

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Unauthorized(Rejected):
    """Nobody that the API knows is calling."""

    code = "unauthorized"


class Forbidden(Rejected):
    """Whoever is calling may not do this."""

    code = "forbidden"


class NoSuchResource(Rejected):
    """The API has nothing at this path, or not with this method."""

    code = "no-such-resource"


class TooLarge(Rejected):
    """The body is larger than any real request."""

    code = "too-large"


STATUS: Final[dict[type[GantryError], int]] = {
    Unauthorized: 401,
    Forbidden: 403,
    NoSuchResource: 404,
    TooLarge: 413,
    HooksDenied: 409,
    Superseded: 409,
    Rejected: 400,
    Unavailable: 503,
    OperationFailed: 500,
    GantryError: 500,
}
"""By class; the nearest one in the tree counts."""
REASONS: Final[dict[Reason, int]] = {
    Reason.UNKNOWN: 404,
    Reason.EXISTS: 409,
    Reason.NOT_UNIQUE: 409,
    Reason.STATE: 409,
    Reason.NO_RESOURCES: 409,
    Reason.TEMPORARILY_NO_RESOURCES: 503,
    Reason.ENVIRONMENT: 500,
    Reason.INTERNAL: 500,
}
"""A plain ``Rejected`` is 400 unless its reason says more."""


def status(error: GantryError) -> int:
    """The HTTP status of an error."""
    nearest = next(kind for kind in type(error).__mro__ if kind in STATUS)
    if nearest is Rejected:
        return REASONS.get(error.reason, STATUS[Rejected])
    return STATUS[nearest]


def document(error: GantryError) -> dict[str, Any]:
    """``{"error": {code, message, reason, hint, node, object}}``, every member present."""
    return {"error": msgspec.structs.asdict(error.info())}


def response(error: GantryError) -> web.Response:
    """The whole answer."""
    headers = {"Content-Type": "application/json"}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Basic realm="Gantry", charset="UTF-8"'
    return web.Response(
        status=status(error), body=_encoder.encode(document(error)), headers=headers
    )


def unexpected() -> GantryError:
    """What a client is told of a bug of ours; the log has the rest."""
    return GantryError(
        "the master met an error of its own; nothing is known to be wrong with the request",
        "the master's log says more; gnt-job list shows whether a job was made",
    )


def _of_framework(error: web.HTTPException, request: web.Request) -> GantryError | None:
    """An error that aiohttp itself raised, in our words."""
    match error.status:
        case 404:
            return NoSuchResource(f"the API has nothing at {request.path}")
        case 405:
            return NoSuchResource(f"{request.path} cannot be asked for with {request.method}")
        case 413:
            return TooLarge("the request is larger than 1 MiB")
        case _:
            return None


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes an answer; what nobody foresaw is logged and shows nothing inside."""
    try:
        return await handler(request)
    except GantryError as error:
        return response(error)
    except web.HTTPException as error:
        known = _of_framework(error, request)
        if known is None:
            raise
        answer = response(known)
        answer.set_status(error.status)
        return answer
    except ConnectionError:
        # The client went away; nobody is left to be told anything.
        raise
    except Exception:
        _log.exception("bug: %s %s", request.method, request.path)
        return response(unexpected())
