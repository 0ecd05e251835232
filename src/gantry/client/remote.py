"""The way to a master on another node: TLS with this node's certificate, whom to ask in turn.

Loaded only where no master answers on this node, since ``ssl`` costs a command 15 ms. Who the
masters may be is what the last master wrote onto this node (``ssconf_*``). Standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gantry.client import paths
from gantry.client.errors import ClientError, MasterDown, NoAccess, NotMaster
from gantry.model import timeouts

_PKI = "etc/gantry/pki"
_PORT = 5080
_SILENT = 1.0
"""Seconds of waiting for a master that nobody need be told of."""


class Peer:
    """A node that may be the master, and where its API is."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return f"{self.name} ({self.host} port {self.port})"


def peers(root: str) -> list[Peer]:
    """Whom to ask: the node that was master last, then the candidates; never this node itself."""
    names = [*_lines(root, "master_node")[:1], *_lines(root, "master_candidates")]
    hosts = [*_lines(root, "master_ip")[:1], *_lines(root, "master_candidates_ips")]
    port = next(iter(_lines(root, "gantry_api_port")), "")
    here = _about(root).get("name", "")
    found = {}
    for name, host in zip(names, hosts, strict=False):
        if name != here and name not in found:
            found[name] = Peer(name, host, int(port) if port.isdecimal() else _PORT)
    return list(found.values())


def connect(root: str, why: OSError) -> tuple[ssl.SSLSocket, Peer]:
    """A connection to the first of ``peers`` that is the master, as the cluster's CA says.

    ``why`` is what kept this command from a master on this node. ClientError where nobody is
    found: it lists who was asked.
    """
    if isinstance(why, PermissionError):
        raise paths.unreachable(root, why)
    asked = peers(root)
    if not asked:
        raise paths.unreachable(root, why)
    secured = context(root)
    failures = []
    for peer in asked:
        try:
            return _secured(root, peer, secured), peer
        except OSError as error:
            failures.append(f"{peer}: {_words(error)}")
    raise _nobody(root, why, failures)


def patience(root: str) -> float:
    """For how many seconds a command looks for a master where it finds none; 0: not at all.

    The job of a command in a script has a master: where it took over just now, it runs scripts
    of jobs before it listens to commands. Other commands wait where another candidate takes
    over by itself, as the last master wrote onto this node (``ssconf_gantry_master_lease``).
    """
    said = os.environ.get("GANTRY_PATIENCE", "")
    if said.isascii() and said.isdecimal():
        return float(said)
    if os.environ.get("GANTRY_JOB"):
        return timeouts.MASTER_INSIST
    lease = next(iter(_lines(root, "gantry_master_lease")), "")
    if not lease.isdecimal() or len(_lines(root, "master_candidates")) < 2:
        return 0.0
    return float(lease) + timeouts.MASTER_TAKEOVER


def insist(reach: Callable[[], Any], began: float, seconds: float) -> Any:
    """What ``reach`` gives in the end, or its last error; who watches a terminal is told."""
    told = not sys.stderr.isatty()
    while True:
        if not told and time.monotonic() - began >= _SILENT:
            told = True
            sys.stderr.write(
                f"no master answers; waiting up to {seconds:g} s for another to take over\n"
            )
            sys.stderr.flush()
        time.sleep(timeouts.MASTER_LOOK)
        try:
            return reach()
        except (MasterDown, NotMaster) as error:
            if time.monotonic() - began > seconds:
                error.message += f"; nor has another taken over within {seconds:g} s"
                raise


def context(root: str) -> ssl.SSLContext:
    """TLS with this node's certificate; it trusts the cluster's CA alone.

    The name of the other side is not looked at, since any node may be the master: what counts
    is its role, see ``is_api``.
    """
    place = Path(root) / _PKI
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    try:
        made.load_verify_locations(place / "ca.pem")
        made.load_cert_chain(place / "node.pem", place / "node.key")
    except PermissionError as error:
        raise _no_access(place) from error
    except OSError as error:
        raise MasterDown(
            f"the certificates in {place}, which a master on another node asks for, cannot be "
            f"used: {_words(error)}",
            "join this machine again: gantry token, gantry join",
        ) from error
    return made


def is_api(root: str, certificate: Any) -> bool:
    """Whether that certificate (``getpeercert()``) is the API's of this very cluster."""
    uri = f"gantry://{_about(root).get('cluster', '')}/api"
    return ("URI", uri) in (certificate or {}).get("subjectAltName", ())


def _no_access(place: Path) -> NoAccess:
    return NoAccess(
        f"no master answers on this node, and you may not read {place}, with which a master on "
        "another node is asked",
        "be root here; on the master's own node members of the group gantry may work too",
    )


def _secured(root: str, peer: Peer, secured: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((peer.host, peer.port), timeouts.MASTER_CONNECT)
    try:
        connection = secured.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise
    if not is_api(root, connection.getpeercert()):
        connection.close()
        raise OSError("what answers there is not the master of this cluster")
    return connection


def _nobody(root: str, why: OSError, failures: list[str]) -> ClientError:
    asked = "; ".join(failures)
    master = next(iter(_lines(root, "master_node")), "")
    if master == _about(root).get("name", ""):
        here = paths.unreachable(root, why)
        return MasterDown(f"{here.message}; nor is another node the master: {asked}", here.hint)
    return NotMaster(
        master,
        f"this node is not the master, and no master answers: {asked}",
        f"see to the master: on {master}, systemctl status gantry-master; where that is dead, "
        "another node can be: gnt-cluster master-failover --help",
    )


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        ended = "has expired" in error.verify_message
        hint = " (there: gantry renew-certificates)" if ended else ""
        return f"its certificate is not valid: {error.verify_message}{hint}"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeouts.MASTER_CONNECT:g} s"
    return error.strerror or str(error) or type(error).__name__


def _lines(root: str, name: str) -> list[str]:
    try:
        text = (Path(root) / f"var/lib/ganeti/ssconf_{name}").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return text.splitlines()


def _about(root: str) -> dict[str, Any]:
    """What this node is: ``name``, ``cluster``; empty where it never joined."""
    place = Path(root) / "etc/gantry/agent.json"
    try:
        found = json.loads(place.read_bytes())
    except PermissionError as error:
        raise _no_access(place) from error
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
