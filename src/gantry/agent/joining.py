"""Joining a cluster: a machine shows a token and gets its certificate and configuration.

The key is made here and never leaves the machine. Nothing is written before the master has
accepted.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from gantry.agent import configuration as configured
from gantry.agent.configuration import Configuration
from gantry.model.errors import OperationFailed, Reason, Rejected, Unavailable
from gantry.model.names import Uuid
from gantry.pki import files, tokens
from gantry.rpc import join as asking


class JoinResult(msgspec.Struct, frozen=True, kw_only=True):
    """Who the machine is now, and where its agent will listen."""

    cluster: Uuid
    cluster_name: str
    node: Uuid
    name: str
    host: str
    port: int


def join(
    root: Path, token_text: str, *, address: str | None = None, port: int = 1811
) -> JoinResult:
    """Join; Rejected or Unavailable with nothing written where the master does not accept.

    Blocking. A machine that joins again keeps its key.
    """
    from gantry.pki.authority import expires, make_request
    from gantry.pki.joining import JoinBundle, JoinRequest

    token = tokens.decode(token_text)
    if not 0 < port < 65536:
        raise Rejected(f"{port} is no port")
    found, ca = _found(token)
    _refuse_another_cluster(root, ca)
    host = address or asking.own_address(found)
    old = files.key(root, files.NODE)
    key, csr = make_request(old.read_text() if old.exists() else None)
    request = JoinRequest(secret=token.secret, csr=csr, address=host, port=port)
    answer = asking.ask(found, ca, msgspec.json.encode(request))
    try:
        bundle = msgspec.json.decode(answer, type=JoinBundle)
        expires(bundle.certificate)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unavailable(f"the master's answer cannot be read: {error}") from error
    _write(root, bundle.ca, bundle.certificate, key)
    configured.write(
        root,
        Configuration(
            cluster=bundle.cluster, node=bundle.node, name=bundle.name, host=host, port=port
        ),
    )
    return JoinResult(
        cluster=bundle.cluster,
        cluster_name=bundle.cluster_name,
        node=bundle.node,
        name=bundle.name,
        host=host,
        port=port,
    )


def _found(token: tokens.JoinToken) -> tuple[str, str]:
    """The first of the token's addresses where the cluster's API answers, and the CA."""
    failures = []
    for address in token.addresses:
        try:
            return address, asking.fetch_ca(address, token.fingerprint)
        except (Rejected, Unavailable) as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise Unavailable(
        "no master answers: " + "; ".join(error.message for error in failures),
        "see whether the master runs and whether its address can be reached from here; "
        "a token names the nodes that were master candidates when it was made",
    )


def _refuse_another_cluster(root: Path, ca: str) -> None:
    """A node of one cluster must not be drawn into another one by a mistaken file."""
    known = files.certificate(root, files.CA)
    if known.exists() and (root / configured.FILE).exists() and known.read_text() != ca:
        raise Rejected(
            f"this machine is of another cluster already (see {root / configured.FILE})",
            "remove it there first: gnt-node remove",
            reason=Reason.STATE,
        )


def _write(root: Path, ca: str, certificate: str, key: str) -> None:
    try:
        files.write(files.key(root, files.NODE), key)
        files.write(files.certificate(root, files.CA), ca)
        files.write(files.certificate(root, files.NODE), certificate)
    except OSError as error:
        raise OperationFailed(
            f"{files.directory(root)} cannot be written: {error.strerror}",
            "mend that and join again with a new token",
            reason=Reason.ENVIRONMENT,
        ) from error
