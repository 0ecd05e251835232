"""Who is calling, as a value."""

from __future__ import annotations

import enum

import msgspec


class Rights(enum.StrEnum):
    """What somebody may do; who may write may read."""

    NONE = "none"
    """Only what is open to everybody."""
    READ = "read"
    WRITE = "write"


class Caller(msgspec.Struct, frozen=True):
    """Whoever sent a request; ``name`` is kept as the requester of their jobs."""

    name: str
    rights: Rights
    refusal: str = ""
    """Why it may not write, and ``hint`` what to do; empty for users."""
    hint: str = ""
