"""The master's side of joining: what a machine sends, what it gets; no HTTP, no store.

The endpoint checks the request, has the token used up by a job, and only then answers with
``accept``. Needs ``cryptography`` when called.
"""

from __future__ import annotations

import msgspec

from gantry.model.names import Uuid
from gantry.pki.authority import Authority, request_key


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /gantry/1/join``. ``csr`` is PEM; the machine's key stays where it is."""

    secret: str
    csr: str
    address: str
    port: int


class JoinBundle(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: who the machine is from now on; ``ca`` and ``certificate`` are PEM."""

    cluster: Uuid
    cluster_name: str
    node: Uuid
    name: str
    ca: str
    certificate: str


def check(request: JoinRequest) -> None:
    """Rejected where no certificate could be issued, before the token is used up."""
    request_key(request.csr)


def accept(
    authority: Authority,
    request: JoinRequest,
    *,
    node: Uuid,
    name: str,
    cluster_name: str,
    now: float,
) -> JoinBundle:
    """The certificate for the machine that has shown a valid token, as node ``node``."""
    return JoinBundle(
        cluster=authority.cluster,
        cluster_name=cluster_name,
        node=node,
        name=name,
        ca=authority.certificate,
        certificate=authority.sign_node(node, name, request.csr, now),
    )
