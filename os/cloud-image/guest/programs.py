"""Running other programs: never through a shell, and with their own words where they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from guest.inputs import Fault


def require(**packages: str) -> None:
    """Fault where a program is missing, with its package: ``qemu_img="qemu-utils"``."""
    for key, package in packages.items():
        program = key.replace("_", "-")
        if shutil.which(program) is None:
            raise Fault(f"cannot find the program {program} on this node: install {package}")


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    output: IO[bytes] | None = None,
    directory: Path | None = None,
) -> bytes:
    """What the program wrote to its standard output. ``timeout`` in seconds.

    Fault where it fails. With ``output`` what it says goes there line by line instead.
    """
    try:
        done = subprocess.run(
            argv,
            env={"PATH": os.environ.get("PATH", "/sbin:/bin:/usr/sbin:/usr/bin"), "LC_ALL": "C"}
            | dict(environment or {}),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT if output else subprocess.PIPE,
            pass_fds=pass_fds,
            cwd=directory,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise Fault(f"cannot find the program {argv[0]} on this node") from None
    except subprocess.TimeoutExpired:
        raise Fault(f"{argv[0]} did not end within {timeout:g} s") from None
    if done.returncode != 0 and output:
        raise Fault(f"{argv[0]} ended with status {done.returncode}")
    if done.returncode != 0:
        said = (done.stderr or b"").decode(errors="replace").strip()
        raise Fault(f"{argv[0]} ended with status {done.returncode}: {said or 'it said nothing'}")
    return done.stdout or b""
