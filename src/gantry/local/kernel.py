"""A kernel for guests of OS busybox: fetched once for a user, then set with gnt-os."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gantry.host import command
from gantry.local.files import link_or_copy
from gantry.local.layout import Layout
from gantry.local.operator import Operator
from gantry.local.shipped import shipped
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason

OS: Final = "busybox"
ARGUMENTS: Final = "ro quiet cryptomgr.notests panic=10"


def cache(around: Mapping[str, str] = os.environ) -> Path:
    """Where the kernel is kept between clusters."""
    base = around.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gantry" / "guest-kernel"


def environment(around: Mapping[str, str]) -> dict[str, str]:
    """The user's own, with proxies and so on; and the programs that Debian keeps from users."""
    path = around.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return {**around, "PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin"}


async def fetch() -> Path:
    """The directory with vmlinuz and initrd.img, filled where it is not yet."""
    directory = cache()
    script = str(shipped("packaging/guest-kernel"))
    done = await command.run(
        [script, str(directory)], timeout=timeouts.NORMAL, env=environment(os.environ), check=False
    )
    if done.status != 0:
        raise OperationFailed(
            f"no kernel for guests: {done.stderr.decode(errors='replace').strip()}",
            "mend the cause and repeat, or do without: gantry local up --no-kernel",
            reason=Reason.ENVIRONMENT,
        )
    return directory


async def provide(layout: Layout, operator: Operator) -> None:
    """Put the kernel beside the nodes' roots and make it the one of OS busybox."""
    source = await fetch()
    layout.kernel.mkdir(exist_ok=True)
    for name in ("vmlinuz", "initrd.img", "version"):
        link_or_copy(source / name, layout.kernel / name)
    values = {
        "kernel_path": f"{layout.kernel}/vmlinuz",
        "initrd_path": f"{layout.kernel}/initrd.img",
        "root_path": "/dev/vda",
        "kernel_args": ARGUMENTS,
    }
    given = ",".join(f"{name}={value}" for name, value in values.items())
    await operator.run("gnt-os", "modify", "-H", f"kvm:{given}", OS)
