"""The reference page of the operations' hooks, made from the table.

    python -m tests.unit.hooks.page

writes ``docs/hooks/operations.md``; a test fails while the page is not what the table says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from gantry.hooks.entry import Phase, Row, Where
from gantry.hooks.subject import SubjectKind
from gantry.hooks.table import ROWS
from gantry.operations import registry

PAGE: Final = Path(__file__).parents[3] / "docs" / "hooks" / "operations.md"
HERE: Final = {*registry.PLACES, "OP_CLUSTER_POST_INIT"}
"""Operations that exist; the first one of all is done by ``gnt-cluster init`` itself."""

HEAD: Final = """\
# Hooks: the operations

Made from the table in `gantry.hooks.table`; do not edit it by hand
(`python -m tests.unit.hooks.page`). How hooks work is in [README.md](README.md), what the
variables mean in [variables.md](variables.md).

Each directory is `<prefix>-pre.d`, `<prefix>-post.d` or `<prefix>-fail.d` in `/etc/ganeti/hooks`.
The last one is read where an operation did not succeed whose pre scripts were run: on its post
nodes, which are never fewer than its pre nodes, but not on a node that was to be added. An
operation without pre nodes has none. Names of variables
are without their prefix `GANETI_`; *the instance's* are those that every instance has, listed in
[variables.md](variables.md). `OP_ID` is the name in version 1, `OP_CODE` the one in version 2.
A node named twice runs the scripts once; an offline node runs none. Where both versions are the
same, they have one line. Operations marked with ° are not in this release: their entries wait
for them.
"""
WITHOUT: Final = """
## Operations without hooks

Before and after these no scripts run, and there are no directories for them. Where one of them
changes the configuration, the scripts in `config-update-post.d` run after it, as after all others;
what it submits as jobs of its own has the hooks of those jobs' operations.

| Operation | What it does |
|---|---|
"""
SHORT: Final = {
    Where.NOWHERE: "–",
    Where.MASTER: "master",
    Where.INSTANCE: "master, primary, secondaries",
    Where.INSTANCE_AND_TARGET: "master, primary, secondaries, target",
    Where.PRIMARY_AND_TARGET: "master, primary, target",
    Where.SECONDARIES_AND_TARGET: "master, secondaries, target",
    Where.TARGET: "the target",
    Where.ALL: "all",
    Where.OTHERS: "all but the node itself",
    Where.OTHERS_AND_NODE: "all and the node itself",
    Where.MASTER_AND_NODE: "master, the node itself",
    Where.MASTER_AND_MEMBERS: "master, the group's nodes",
    Where.MEMBERS: "the group's nodes",
}


def page() -> str:
    """The page as it has to be."""
    parts = [HEAD]
    for kind in SubjectKind:
        parts.append(f"\n## {kind.value.capitalize()}\n\n")
        parts.append("| Prefix | Version | OP_ID, OP_CODE | Pre nodes | Post nodes | Variables |\n")
        parts.append("|---|---|---|---|---|---|\n")
        for entry in ROWS.values():
            if entry.kind is kind:
                parts += _lines(entry)
    return "".join([*parts, WITHOUT, *_without()])


def _without() -> list[str]:
    """A line for each operation that runs no scripts."""
    return [
        f"| {opcode} | {_purpose(opcode)} |\n"
        for opcode in registry.PLACES
        if not registry.find(opcode).hooked
    ]


def _purpose(opcode: str) -> str:
    """The first line of its module."""
    module = sys.modules[registry.find(opcode).__module__]
    first = (module.__doc__ or "").partition("\n")[0]
    return first.replace("``", "`").removesuffix(".")


def _lines(entry: Row) -> list[str]:
    versions = (1, 2) if _differ(entry) else (0,)
    return [_line(entry, version, first=version == versions[0]) for version in versions]


def _differ(entry: Row) -> bool:
    if entry.seed is None or entry.only_seed:
        return False
    places = [[entry.where(phase, version) for phase in Phase] for version in (1, 2)]
    return (
        places[0] != places[1]
        or entry.directory(1) != entry.directory(2)
        or entry.op_id != entry.op_code
        or entry.leaving
        or entry.grouped
    )


def _line(entry: Row, version: int, *, first: bool) -> str:
    mark = "" if entry.opcode in HERE else " °"
    names = {1: entry.op_id, 2: entry.op_code}
    post = SHORT[entry.where(Phase.POST, version or 2)]
    if version == 2 and entry.leaving:
        post += "; and the node itself"
    if version == 2 and entry.grouped:
        post += ", group by group"
    cells = (
        f"`{entry.directory(version or 2)}`{mark}",
        str(version) if version else "1 and 2",
        names.get(version, entry.op_code),
        SHORT[entry.where(Phase.PRE, version or 2)],
        post,
        _variables(entry) if first else "the same",
    )
    return f"| {' | '.join(cells)} |\n"


def _variables(entry: Row) -> str:
    found = ["OP_TARGET"] if entry.target else []
    if entry.kind is SubjectKind.INSTANCE:
        found.append("*the instance's*")
    if entry.tags:
        found += ["CLUSTER_TAGS", "NODE_TAGS_*name*"]
    found += entry.node_variables
    found += [f"{name} †" if name in entry.flags else name for name in entry.own]
    text = ", ".join(found)
    return text + " († version 1: only if given)" if entry.flags else text


if __name__ == "__main__":
    PAGE.write_text(page())
