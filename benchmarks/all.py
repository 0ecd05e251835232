"""All figures, one benchmark after the other, as one table in Markdown.

    .venv/bin/python -m benchmarks.all [--output FILE] [--only NAME …] [--store etcd]

With ``--store etcd`` those that have to do with the store, on three members on this machine.
Takes some ten minutes. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from benchmarks import (
    fence,
    hook_history,
    hooks,
    hooks_at_scale,
    kvm_start,
    list_instances,
    local_cluster,
    master_failover,
    memory,
    no_hooks,
    noop_jobs,
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
    "memory": (memory.measure, 3),
    "scale": (scale.measure, 5),
    "hooks_at_scale": (hooks_at_scale.measure, 5),
    "fence": (fence.measure, 5),
    "master_failover": (master_failover.measure, 10),
    "takeover": (takeover.measure, 50),
}


ON_STORE = ("list_instances", "start_command", "noop_jobs", "start_stop", "verify", "memory")
"""Those in which the store has a part."""


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


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the table there")
    parser.add_argument("--only", nargs="+", choices=sorted(ALL))
    parser.add_argument("--store", choices=("sqlite", "etcd"), default="sqlite")
    given = parser.parse_args()
    local_cluster.store = given.store
    where, found = machine(), []
    for name in given.only or (ALL if given.store == "sqlite" else ON_STORE):
        measure, runs = ALL[name]
        sys.stderr.write(f"{name} …\n")
        rows = measure(runs)
        if given.store != "sqlite":
            # The targets are those of a store in a file.
            rows = [msgspec.structs.replace(row, target=None) for row in rows]
        found += rows
    kind = "SQLite" if given.store == "sqlite" else "etcd, three members on this machine"
    text = f"{table(found)}\n\n{where}; state in {kind}\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text)


if __name__ == "__main__":
    main()
