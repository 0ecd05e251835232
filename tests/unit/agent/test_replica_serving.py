"""The socket at which a replica is served."""

from __future__ import annotations

import socket

from gantry.agent import replica_serving


def test_what_it_accepts_sends_short_words_at_once() -> None:
    with (
        replica_serving.listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
