"""Who a certificate speaks for, as names in it; pure. Making certificates is no business here.

A certificate has one URI: ``gantry://<cluster uuid>/<role>`` or
``gantry://<cluster uuid>/<role>/<who>``. Whoever calls a node also checks, in the handshake,
the DNS name made of the node's and the cluster's uuids, which only that node's certificate has.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec

from gantry.model.names import Uuid

_URI: Final = re.compile(r"gantry://([0-9a-f-]{36})/([a-z]+)(?:/([a-zA-Z0-9._-]{1,128}))?")

COMMON_NAME: Final = 64
"""The most characters of a certificate's common name."""


class Role(enum.StrEnum):
    """What the holder of a certificate may be."""

    NODE = "node"
    MASTER = "master"
    API = "api"
    CLIENT = "client"
    STORE = "store"
    """A member of an etcd that was made for a cluster; the cluster itself does not trust it."""


class Identity(msgspec.Struct, frozen=True):
    """``who`` is a node's uuid or a client's name; empty for the master and the API."""

    cluster: Uuid
    role: Role
    who: str = ""

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        return f"gantry://{self.cluster}/{self.role}" + (f"/{self.who}" if self.who else "")


def parse(uri: str) -> Identity | None:
    """The identity in a certificate's URI, or None where it is none of ours."""
    found = _URI.fullmatch(uri)
    if found is None or found[2] not in set(Role):
        return None
    return Identity(Uuid(found[1]), Role(found[2]), found[3] or "")


def node_host(cluster: Uuid, node: Uuid) -> str:
    """The DNS name in a node's certificate; it resolves nowhere."""
    return f"{node}.{cluster}.node.gantry.internal"


def node_subject(name: str, node: Uuid) -> str:
    """Whom a node's certificate is for, as GnuTLS writes it: a program that sees nothing else of a
    certificate tells a node by it from one of the same name that was removed.
    """
    return f"CN={name[:COMMON_NAME]},serialNumber={node}"
