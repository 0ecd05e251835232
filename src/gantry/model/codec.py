"""Entities as the store keeps them: versioned JSON, one value a key."""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.model.entities import (
    CLUSTER_KEY,
    AnyEntity,
    Bundle,
    Cluster,
    Group,
    Instance,
    Joined,
    Mirror,
    Node,
    Rollout,
    Token,
    Webhook,
)
from gantry.model.errors import GantryError

VERSION: Final = 1


class _Versioned(msgspec.Struct, frozen=True):
    v: int
    data: msgspec.Raw


_KINDS: Final[dict[str, type[AnyEntity]]] = {
    "groups": Group,
    "nodes": Node,
    "instances": Instance,
    "mirrors": Mirror,
    "tokens": Token,
    "joined": Joined,
    "bundles": Bundle,
    "rollouts": Rollout,
    "webhooks": Webhook,
}
_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(_Versioned)


def encode(entity: AnyEntity) -> bytes:
    """``entity`` as ``{"v": 1, "data": {…}}``."""
    return _encoder.encode(_Versioned(VERSION, msgspec.Raw(_encoder.encode(entity))))


def decode(key: str, value: bytes) -> AnyEntity:
    """The entity under ``key``; GantryError where it cannot be read, naming the key."""
    kind: type[AnyEntity] = Cluster if key == CLUSTER_KEY else _KINDS[key.partition("/")[0]]
    try:
        envelope = _envelope.decode(value)
        if envelope.v != VERSION:
            raise GantryError(
                f"the stored object {key} has version {envelope.v}, this program reads {VERSION}",
                "a newer Gantry wrote it: run that version",
            )
        entity: AnyEntity = msgspec.json.decode(envelope.data, type=kind)
        return entity
    except msgspec.MsgspecError as error:
        raise GantryError(
            f"the stored object {key} cannot be read: {error}",
            "bring back an earlier copy with gantry state restore",
        ) from error
