"""The programs that move a disk's bytes between nodes, as argument lists. Pure.

A stream goes through socat, blocks through NBD; both in TLS with the nodes' own certificates,
each end accepting the one node that it was told. See docs/adr/0012-backups.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gantry.model import timeouts
from gantry.model.backup_orders import Compression, Peer
from gantry.model.identity import node_host, node_subject
from gantry.model.names import Uuid

BLOCK: Final = "1M"
NAME: Final = "GANTRY_TRANSFER"
"""The variable with the transfer's number, by which both ends know that they are meant."""
STRANGER: Final = 65
"""Exit status of the gate where another transfer came."""
BACKLOG: Final = 1024
"""Callers that the kernel lets wait."""
INHERITED: Final = 3
"""The descriptor of a listening socket that a server is given."""
_COMPRESS: Final[dict[Compression, tuple[str, ...]]] = {
    Compression.GZIP: ("gzip", "-c"),
    Compression.GZIP_FAST: ("gzip", "-c", "-1"),
    Compression.GZIP_SLOW: ("gzip", "-c", "-9"),
    Compression.LZOP: ("lzop", "-c"),
    Compression.ZSTD: ("zstd", "-q", "-c"),
}
_EXPAND: Final[dict[Compression, tuple[str, ...]]] = {
    Compression.GZIP: ("gzip", "-c", "-d"),
    Compression.GZIP_FAST: ("gzip", "-c", "-d"),
    Compression.GZIP_SLOW: ("gzip", "-c", "-d"),
    Compression.LZOP: ("lzop", "-c", "-d"),
    Compression.ZSTD: ("zstd", "-q", "-c", "-d"),
}
_SHELL: Final = "/bin/sh"
_SAY_NAME: Final = f'printf "%s\\n" "${NAME}"; exec "$@"'
_HEAR_NAME: Final = (
    'exec < "$1" && shift; '
    f'IFS= read -r name && [ "$name" = "${NAME}" ] || exit {STRANGER}; exec "$@"'
)
_INHERIT: Final = 'LISTEN_PID=$$ exec "$@"'


def needed(compress: Compression) -> tuple[str, ...]:
    """The programs that both ends of a transfer need."""
    packer = _COMPRESS.get(compress, ())[:1]
    return ("socat", "dd", "qemu-img", "qemu-nbd", *packer)


def copy(source: str | None = None, target: str | None = None, *, keep: bool = False) -> list[str]:
    """dd, which counts; zeros become holes in ``target``, which is cut or (``keep``) is not."""
    argv = ["dd", f"bs={BLOCK}"]
    if source is not None:
        argv.append(f"if={source}")
    if target is not None:
        argv += [f"of={target}", "conv=sparse,fsync" + (",notrunc,nocreat" if keep else "")]
    return argv


def packing(compress: Compression, count: list[str]) -> list[list[str]]:
    """``count`` (a dd), what packs, and before all that the transfer's name."""
    if compress is Compression.NONE:
        return [_shell(_SAY_NAME, count)]
    return [count, _shell(_SAY_NAME, _COMPRESS[compress])]


def unpacking(compress: Compression, count: list[str], inlet: Path) -> list[list[str]]:
    """The same backwards; what comes is read from the named pipe ``inlet``."""
    if compress is Compression.NONE:
        return [_shell(_HEAR_NAME, [str(inlet), *count])]
    return [_shell(_HEAR_NAME, [str(inlet), *_EXPAND[compress]]), count]


def caller(cluster: Uuid, peer: Peer, port: int, pki: Path) -> list[str]:
    """socat from its standard input to ``peer``."""
    host = f"[{peer.host}]" if ":" in peer.host else peer.host
    address = f"OPENSSL:{host}:{port},connect-timeout={timeouts.CONNECT:g},{_family(peer.host)}"
    # Both ways, so that it sees the other end go, and reads what TLS has to say: a socket that
    # is closed with something unread in it throws away what was not sent yet.
    return [*_SOCAT, "stdio", address + _pinned(cluster, peer, pki)]


def listener(cluster: Uuid, peer: Peer, host: str, pki: Path, inlet: Path) -> list[str]:
    """socat from ``peer``, which calls, to the named pipe ``inlet``. It says where it listens.

    Each caller has a process of its own, which opens the pipe only once it knows that it is
    ``peer``, and does not wait long for a caller who says nothing. It goes on until it is ended.
    """
    address = f"OPENSSL-LISTEN:0,bind={host},{_family(host)},fork,backlog={BACKLOG}"
    patience = struct.pack("qq", int(timeouts.HANDSHAKE), 0).hex()
    # Of a listening end "setsockopt" is of those that call: SO_RCVTIMEO, a struct timeval. It
    # ends a handshake; of what comes later socat waits for more.
    waits = f",max-children={_CALLERS},setsockopt-bin=1:20:x{patience}"
    return [*_SOCAT, "-u", address + waits + _pinned(cluster, peer, pki), f"OPEN:{inlet},wronly"]


def block_server(
    peer: Peer, tls: Path, name: Uuid, path: str, kind: str, *, direct: bool = False
) -> list[str]:
    """qemu-nbd for ``peer`` alone, on an inherited socket; ``tls`` is as QEMU wants it.

    Whoever else calls is sent away by TLS, or waits for nothing; ``peer`` is let in meanwhile. It
    goes on until it is told to end (SIGTERM), and writes out what it still has then.
    ``direct``: past the page cache, which is a third faster, where the file system can do it.
    """
    return _shell(
        _INHERIT,
        [
            "qemu-nbd",
            "--object",
            f"tls-creds-x509,id=tls,dir={value(tls)},endpoint=server,verify-peer=on,"
            "sanity-check=off",
            "--object",
            f"authz-simple,id=peer,identity={value(node_subject(peer.name, peer.node))}",
            "--tls-creds=tls",
            "--tls-authz=peer",
            f"--export-name={name}",
            "--persistent",
            "--shared=0",
            f"--format={kind}",
            "--discard=unmap",
            *(("--cache=none", "--aio=native") if direct else ()),
            path,
        ],
    )


def block_client(
    cluster: Uuid, peer: Peer, port: int, tls: Path, name: Uuid, source: str
) -> list[str]:
    """qemu-img from ``source`` (image options) to the server of ``peer``; holes are left out."""
    target = (
        f"driver=nbd,server.type=inet,server.host={value(peer.host)},server.port={port},"
        f"export={name},tls-creds=tls,tls-hostname={node_host(cluster, peer.node)}"
    )
    return [
        "qemu-img",
        "convert",
        "-p",
        "-n",
        "--target-is-zero",
        "-W",
        "-m8",
        "--object",
        f"tls-creds-x509,id=tls,dir={value(tls)},endpoint=client,sanity-check=off",
        "--image-opts",
        source,
        "--target-image-opts",
        target,
    ]


def image_file(path: str, kind: str) -> str:
    """Image options of a file that nobody writes to."""
    return f"driver={kind},read-only=on,file.driver=file,file.filename={value(path)}"


_SOCAT: Final = ("socat", "-d", "-d", "-b1048576")
_CALLERS: Final = 256
"""Those that may be in the middle of their first words at the same time."""
_ALIVE: Final = ",keepalive,keepidle=20,keepintvl=5,keepcnt=6"
"""A network that is cut while nothing is on its way is noticed within a minute.

What is on its way is looked after by the agent: TCP_USER_TIMEOUT would also cut off a script
that does not read for a minute, since it has other things to do.
"""


def _pinned(cluster: Uuid, peer: Peer, pki: Path) -> str:
    return (
        f"{_ALIVE},cert={pki}/node.pem,key={pki}/node.key,cafile={pki}/ca.pem,verify=1,"
        f"openssl-min-proto-version=TLS1.3,commonname={node_host(cluster, peer.node)}"
    )


def _family(host: str) -> str:
    return "pf=ip6" if ":" in host else "pf=ip4"


def called(argv: Sequence[str]) -> str:
    """The program that this is, also where a shell becomes it."""
    if argv[0] != _SHELL:
        return Path(argv[0]).name
    return next(one for one in argv[4:] if "/" not in one)


def _shell(script: str, argv: list[str] | tuple[str, ...]) -> list[str]:
    return [_SHELL, "-c", script, "sh", *argv]


def value(value: str | Path) -> str:
    """As a value among QEMU's options, where a comma ends it."""
    return str(value).replace(",", ",,")
