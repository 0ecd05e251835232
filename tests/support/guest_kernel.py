"""A kernel and an initrd for guests that tests boot.

To be imported by the conftest of whoever needs it; made once for all test runs of a user, and
nothing of a guest's definition belongs here.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[2] / "packaging" / "guest-kernel"


@dataclass(frozen=True, kw_only=True)
class GuestKernel:
    """Where kernel and initrd are, and which version it is."""

    kernel: Path
    initrd: Path
    version: str


def guest_kernel_directory() -> Path:
    """The directory that keeps the kernel between test runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "gantry" / "guest-kernel"


@pytest.fixture(scope="session")
def guest_kernel() -> GuestKernel:
    """Kernel and initrd; downloads Debian's package where the cache is empty."""
    return made_guest_kernel()


def made_guest_kernel(*modules: str) -> GuestKernel:
    """The same for who is no test; with kernel modules that the guest loads besides."""
    directory = guest_kernel_directory()
    if modules:
        directory = directory.with_name("-".join([directory.name, *modules]))
    made = subprocess.run(
        [_SCRIPT, directory, *modules], capture_output=True, text=True, timeout=600, check=False
    )
    if made.returncode != 0:
        pytest.fail(f"no kernel for guests: {made.stderr}", pytrace=False)
    return GuestKernel(
        kernel=directory / "vmlinuz",
        initrd=directory / "initrd.img",
        version=(directory / "version").read_text().strip(),
    )
