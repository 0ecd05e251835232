"""Moving one disk's bytes between two nodes: the three steps that an export and an import share."""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.model import timeouts
from gantry.model.backup_orders import (
    ChangedBlocks,
    Compression,
    DumpFile,
    Moved,
    Peer,
    Place,
    ReadPrograms,
    ScriptedDisk,
    TransferAbort,
    TransferClose,
    TransferOpen,
    TransferSend,
    Way,
)
from gantry.model.entities import Node
from gantry.model.errors import Cancelled, GantryError, OperationFailed, Reason, Rejected
from gantry.model.names import Uuid
from gantry.operations.base import Examiner
from gantry.ports.steps import Steps

_MIB: Final = 1024 * 1024


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One disk's way: from ``origin`` on the node ``source`` to ``landing`` on ``target``."""

    uuid: Uuid
    source: Peer
    target: Peer
    origin: Place
    landing: Place
    compress: Compression

    @property
    def way(self) -> Way:
        """Blocks, unless a script or a compressor has to see them in a row."""
        if isinstance(self.origin, ChangedBlocks):  # a file, as it is
            return Way.STREAM
        if isinstance(self.origin, DumpFile) and self.origin.below:
            return Way.BLOCKS
        scripted = isinstance(self.origin, ScriptedDisk) or isinstance(self.landing, ScriptedDisk)
        return Way.STREAM if scripted or self.compress is not Compression.NONE else Way.BLOCKS


def peer(node: Node) -> Peer:
    """A node as the other end knows it."""
    return Peer(node=node.uuid, name=node.name, host=node.primary_ip)


def compression(text: str | None) -> Compression:
    """The kind of compression, or Rejected."""
    try:
        return Compression(text or "none")
    except ValueError:
        raise Rejected(
            f"there is no compression {text!r}", "it is one of " + ", ".join(Compression)
        ) from None


async def programs_there(ask: Examiner, compress: Compression, *nodes: Peer) -> None:
    """Every node has the programs that are needed, or Rejected."""
    for node in dict.fromkeys(nodes):
        missing = await ask.ask(node.node, ReadPrograms(compress=compress), timeouts.URGENT)
        if missing.programs:
            raise Rejected(
                f"node {node.name} lacks {', '.join(missing.programs)}",
                "install it there (apt install socat qemu-utils lzop zstd), or choose another "
                "compression",
                reason=Reason.ENVIRONMENT,
                node=node.name,
            )


async def move(steps: Steps, index: int, transfer: Transfer) -> Moved:
    """Take all three steps; what the receiving end has. Their names end in ``/<index>``."""
    listening = await steps.do(
        f"receive/{index}",
        transfer.target.node,
        TransferOpen(
            transfer=transfer.uuid,
            way=transfer.way,
            compress=transfer.compress,
            peer=transfer.source,
            place=transfer.landing,
            lasts=timeouts.TRANSFER,
        ),
        undo=TransferAbort(transfer=transfer.uuid),
    )
    send = TransferSend(
        transfer=transfer.uuid,
        way=transfer.way,
        compress=transfer.compress,
        peer=transfer.target,
        port=listening.port,
        place=transfer.origin,
    )
    node = transfer.source.node
    try:
        sent = await steps.do(f"send/{index}", node, send, timeout=timeouts.TRANSFER)
    except Cancelled:
        raise
    except OperationFailed as error:
        await _say_why(steps, index, transfer, error)
        raise
    close = TransferClose(transfer=transfer.uuid)
    kept = await steps.do(
        f"received/{index}", transfer.target.node, close, timeout=timeouts.TRANSFER
    )
    if sent.counted and kept.counted and sent.size != kept.size:
        raise OperationFailed(
            f"disk {index}: {sent.size} bytes were sent, and {kept.size} came",
            "the connection broke: try it again",
        )
    rate = sent.size / _MIB / max(sent.seconds, 0.001)
    steps.log(f"disk {index}: {sent.size / _MIB:.0f} MiB, {rate:.1f} MiB/s")
    return kept


async def _say_why(steps: Steps, index: int, transfer: Transfer, error: OperationFailed) -> None:
    """The sender often sees only that nobody listens any more: ask the other end why."""
    close = TransferClose(transfer=transfer.uuid, failed=True)
    try:
        await steps.do(f"received/{index}", transfer.target.node, close)
    except Cancelled:
        raise
    except GantryError as other:
        raise OperationFailed(
            f"{error.message}; the other end: {other.message}",
            other.hint or error.hint,
            reason=other.reason,
            node=other.node or error.node,
        ) from error
