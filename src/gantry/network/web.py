"""The parts of aiohttp's HTTP server that we use without its applications.

``aiohttp.web`` has the same names, and loads argparse for a command line of its own besides: 0.4
MiB in every agent.
"""

from __future__ import annotations

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_runner import BaseRunner, BaseSite, ServerRunner
from aiohttp.web_server import Server
from aiohttp.web_ws import WebSocketResponse

__all__ = [
    "BaseRequest",
    "BaseRunner",
    "BaseSite",
    "Response",
    "Server",
    "ServerRunner",
    "StreamResponse",
    "WebSocketResponse",
]
