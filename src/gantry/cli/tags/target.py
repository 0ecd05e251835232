"""Which object a tag command is about: from the program's name and the first argument."""

from __future__ import annotations

import argparse

from gantry.cli.errors import Usage

_KINDS = {
    "gnt-cluster": "cluster",
    "gnt-group": "nodegroup",
    "gnt-node": "node",
    "gnt-instance": "instance",
}


def split(arguments: argparse.Namespace, more: bool) -> tuple[str, str | None, list[str]]:
    """Kind, name (None: the cluster) and tags; ``more``: whether tags are wanted."""
    kind, rest = _KINDS[arguments.program], list(arguments.words)
    name = None
    if kind != "cluster":
        if not rest:
            raise Usage(f"the name of the {kind} is missing")
        name = rest.pop(0)
    if bool(rest) != more:
        raise Usage("give the tags" if more else f"too many arguments: {' '.join(rest)}")
    return kind, name, rest


def operation(opcode: str, arguments: argparse.Namespace) -> dict[str, object]:
    """The operation's fields."""
    kind, name, tags = split(arguments, True)
    return {"OP_ID": opcode, "kind": kind, "tags": tags, **({"name": name} if name else {})}
