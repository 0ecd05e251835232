"""All figures, one benchmark after the other, as tables in Markdown.

    .venv/bin/python -m benchmarks.all [--store etcd] [--only NAME …] [--write] [--output FILE]

With ``--store etcd`` those that have to do with the store, on three members on this machine.
``--write`` puts each row into its table in docs/performance.md as soon as it is measured, in the
place of the one of the same name; rows that were not measured stay as they are. ``--runs`` is for
trying it out. Takes some twenty minutes. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from benchmarks import (
    backups,
    fence,
    hook_history,
    hooks,
    hooks_at_scale,
    increments,
    kvm_start,
    list_instances,
    local_cluster,
    master_failover,
    memory,
    mirrors,
    moving,
    no_hooks,
    noop_jobs,
    os_create,
    page,
    scale,
    start_command,
    start_stop,
    takeover,
    verify,
)
from benchmarks.figures import Figure, table

ALL: dict[str, tuple[Callable[[int], list[Figure]], int]] = {
    "list_instances": (list_instances.measure, 15),
    "start_command": (start_command.measure, 20),
    "noop_jobs": (noop_jobs.measure, 5),
    "start_stop": (start_stop.measure, 5),
    "hooks": (hooks.measure, 7),
    "hook_history": (hook_history.measure, 15),
    "no_hooks": (no_hooks.measure, 200),
    "verify": (verify.measure, 10),
    "kvm_start": (kvm_start.measure, 20),
    "os_create": (os_create.measure, 5),
    "backups": (backups.measure, 5),
    "increments": (increments.measure, 3),
    "moving": (moving.measure, 5),
    "memory": (memory.measure, 3),
    "mirrors": (mirrors.measure, 5),
    "scale": (scale.measure, 5),
    "hooks_at_scale": (hooks_at_scale.measure, 5),
    "fence": (fence.measure, 5),
    "master_failover": (master_failover.measure, 10),
    "takeover": (takeover.measure, 50),
}
_LARGE = ("scale", "hooks_at_scale", "fence", "master_failover", "takeover")
TABLES = {"figures": tuple(name for name in ALL if name not in _LARGE), "large clusters": _LARGE}
"""By the mark on the page, the benchmarks whose rows are there."""
ON_ETCD = "on etcd"
ON_STORE = (
    "list_instances",
    "start_command",
    "noop_jobs",
    "start_stop",
    "no_hooks",
    "verify",
    "memory",
    "scale",
)
"""Those in which the store has a part."""
KINDS = {"sqlite": "SQLite", "etcd": "etcd, three members on this machine"}


def processor() -> str:
    """The kind of processor, and how busy the machine is."""
    found = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            found = line.partition(":")[2].strip()
    return f"{os.cpu_count()} × {found}"


def machine() -> str:
    """Where this was measured, in one line."""
    load = os.getloadavg()[0]
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{processor()}; {system}, Linux {platform.release()}; "
        f"Python {platform.python_version()}; load {load:.1f} before"
    )


def measure(
    names: Iterable[str], runs: int | None, keep: Callable[[str, list[Figure]], None]
) -> list[str]:
    """Give the rows of each benchmark to ``keep`` at once; the names of those that failed."""
    failed = []
    for name in names:
        benchmark, usual = ALL[name]
        sys.stderr.write(f"{name} …\n")
        try:
            rows = benchmark(runs or usual)
        except Exception:
            # What was measured before, and what comes after, is not lost with it.
            traceback.print_exc()
            failed.append(name)
        else:
            keep(name, rows)
    return failed


def written(text: str, found: Mapping[str, Sequence[Figure]], store: str, where: str) -> str:
    """The page with these rows in its tables; those of etcd stand beside those of SQLite."""
    if store == "sqlite":
        for mark, names in TABLES.items():
            new = [row for name in found if name in names for row in found[name]]
            if new:
                table_then = page.merged(page.rows(page.between(text, mark)), new)
                text = page.replaced(text, mark, f"{table_then}\n\n{where}")
    rows = page.between(text, ON_ETCD)
    others: dict[str, list[str]] = {}
    for mark in TABLES:
        others |= page.rows(page.between(text, mark))
    new = [row for some in found.values() for row in some] if store == "etcd" else []
    below = where if new else rows.strip().splitlines()[-1]
    beside = page.beside(page.rows(rows), new, others)
    return page.replaced(text, ON_ETCD, f"{beside}\n\n{below}")


def main() -> int:
    """Measure, print, write; exit status 1 where a benchmark failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the tables there")
    parser.add_argument("--only", nargs="+", choices=sorted(ALL), metavar="NAME")
    parser.add_argument("--store", choices=sorted(KINDS), default="sqlite")
    parser.add_argument("--runs", type=int, metavar="N", help="of each, instead of its own number")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    given = parser.parse_args()
    local_cluster.store = given.store
    where = f"{machine()}; state in {KINDS[given.store]}"
    found: dict[str, list[Figure]] = {}

    def keep(name: str, rows: list[Figure]) -> None:
        if given.store != "sqlite":
            # The targets are those of a store in a file.
            rows = [msgspec.structs.replace(row, target=None) for row in rows]
        found[name] = rows
        if given.write:
            text = written(page.PAGE.read_text(), {name: rows}, given.store, where)
            page.PAGE.write_text(text)

    names = given.only or (ALL if given.store == "sqlite" else ON_STORE)
    failed = measure(names, given.runs, keep)
    text = "\n\n".join([*(table(rows) for rows in found.values()), where])
    print(text)
    if given.output is not None:
        given.output.write_text(f"{text}\n")
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
