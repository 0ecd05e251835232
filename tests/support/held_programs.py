"""A local cluster in which programs can be held when they begin, so that a test is sure to be in
the middle of what they do. Needs root: the cluster's processes see a /usr/local/sbin of their own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cluster import COMMAND, GANTRY, Cluster, Done, eventually, short_directory

_WRAPPER = """#!/bin/sh
# Whoever calls it waits as long as there is a file with a name that fits what it is called with.
for held in "{held}"/*; do
  case "{name} $*" in
    ${{held##*/}})
      : > "{begun}/${{held##*/}}"
      while [ -e "$held" ]; do sleep 0.05; done ;;
  esac
done
exec {program} "$@"
"""


class HeldPrograms(Cluster):
    """``hold`` one, and wait until it has ``begun``; it goes on when it is ``let_go``."""

    def __init__(self, directory: Path, programs: Path) -> None:
        super().__init__(directory)
        self._programs = programs

    def local(self, *arguments: str, check: bool = True, timeout: float = COMMAND) -> Done:
        command, *rest = arguments
        place = self._programs / "sbin"
        apart = ["unshare", "--mount", "--propagation", "slave", "sh", "-ec"]
        over = ['mount --bind "$0" /usr/local/sbin; exec "$@"', str(place)]
        done = subprocess.run(
            [*apart, *over, *GANTRY, "local", command, "--dir", str(self.directory), *rest],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def hold(self, call: str) -> None:
        """Calls with these words, a program's name and its arguments, of which a * is any."""
        (self._programs / "held" / call).touch()

    def begun(self, call: str) -> None:
        """Returns when somebody has called it."""
        eventually(f"{call} has begun", lambda: self.has_begun(call))

    def has_begun(self, call: str) -> bool:
        return (self._programs / "begun" / call).exists()

    def forget_begun(self) -> None:
        """Only calls from now on count; what is held stays so."""
        for file in (self._programs / "begun").iterdir():
            file.unlink()

    def let_go(self) -> None:
        """Nothing is held any more."""
        for file in (self._programs / "held").iterdir():
            file.unlink()
        self.forget_begun()


@contextmanager
def held_cluster(*arguments: str, programs: tuple[str, ...]) -> Iterator[HeldPrograms]:
    """``gantry local up`` with ``arguments``; these programs of /usr/bin can be held."""
    with short_directory() as directory, short_directory() as place:
        for name in ("sbin", "held", "begun"):
            (place / name).mkdir(parents=True)
        for name in programs:
            text = _WRAPPER.format(
                name=name, program=f"/usr/bin/{name}", held=place / "held", begun=place / "begun"
            )
            (place / "sbin" / name).write_text(text)
            (place / "sbin" / name).chmod(0o755)
        cluster = HeldPrograms(directory, place)
        with _shared(directory):
            try:
                cluster.local("up", *arguments)
                cluster.whole()
                yield cluster
            finally:
                cluster.let_go()
                cluster.remove_all()
                done = cluster.local("down", check=False)
        assert done.status == 0, done.said


@contextmanager
def _shared(directory: Path) -> Iterator[None]:
    """What is mounted below it by a test is seen by the cluster, which is apart."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "--make-shared", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)
