"""How this node reaches the exports of replicas on other nodes: with its own certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from gantry.host import command
from gantry.model import timeouts
from gantry.model.identity import node_host
from gantry.model.names import Uuid
from gantry.model.specs import MirrorTarget
from gantry.network import nbd
from gantry.pki import files, qemu_names
from gantry.rpc import certificates

_DIRECTORY = "run/gantry/mirrors-tls"


class NodePeers:
    """See ``gantry.hypervisors.contract.Peers``."""

    def __init__(self, root: Path, cluster: Uuid) -> None:
        self._root = root
        self._cluster = cluster
        self._tls: tuple[float, ssl.SSLContext] | None = None

    def credentials(self) -> Path:
        """A directory with this node's certificates, under the names that QEMU looks for."""
        return qemu_names.prepare(self._root, self._root / _DIRECTORY)

    def host(self, node: Uuid) -> str:
        """The name that the certificate of ``node`` has."""
        return node_host(self._cluster, node)

    async def exports(self, target: MirrorTarget, *, until: str = "") -> list[str]:
        """The names of what is served there, ``until`` at last. OSError, EOFError: no answer."""
        name = self.host(target.node)
        return await nbd.exports(target.host, target.port, self._context(), name, until=until)

    async def hang_up(self, target: MirrorTarget) -> bool:
        """End this node's connections to it; see the contract. CommandFailed."""
        host = f"[{target.host}]" if ":" in target.host else target.host
        which = ["-H", "-t", "-n", "dst", f"{host}:{target.port}"]
        there = (await command.run(["ss", *which], timeout=timeouts.URGENT)).stdout
        ended = (await command.run(["ss", "-K", *which], timeout=timeouts.URGENT)).stdout
        return bool(ended.strip()) or not there.strip()

    def _context(self) -> ssl.SSLContext:
        """Made anew once the node has another certificate."""
        certificate = files.certificate(self._root, files.NODE)
        changed = certificate.stat().st_mtime
        if self._tls is None or self._tls[0] != changed:
            made = certificates.client_context(
                certificates.Files(
                    ca=files.certificate(self._root, files.CA),
                    certificate=certificate,
                    key=files.key(self._root, files.NODE),
                )
            )
            self._tls = changed, made
        return self._tls[1]
