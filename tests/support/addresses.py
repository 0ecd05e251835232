"""Addresses on loopback that no other process of the tests uses."""

from __future__ import annotations

import os


def own_address() -> str:
    """An address of this process.

    A port of it that was free a moment ago still is: other tests that run at the same time have
    other addresses, and connections from this machine do not begin at it.
    """
    return f"127.{os.getpid() % 251 + 2}.{os.getpid() // 251 % 251 + 2}.9"
