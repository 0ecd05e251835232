"""An agent whose qemu-img waits when it is told to.

Needs root: it sees a /usr/local/sbin of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from tests.support.agent_process import AgentProcess, TestAuthority

_WRAPPER = """#!/bin/sh
case $1 in
  convert)
    if [ -e "{place}/held" ]; then
      echo $$ > "{place}/held"
      cat "{place}/going-on" > /dev/null
    fi ;;
esac
exec /usr/bin/qemu-img "$@"
"""


class WrappedAgent(AgentProcess):
    """``hold``, then ``begun`` when it converts; it goes on when it is ``let_go``."""

    def __init__(self, directory: Path, ca: TestAuthority) -> None:
        super().__init__(directory, ca)
        self._programs = directory / "programs"
        self._programs.mkdir()
        wrapper = self._programs / "qemu-img"
        wrapper.write_text(_WRAPPER.format(place=self._programs))
        wrapper.chmod(0o755)

    def hold(self) -> None:
        os.mkfifo(self._programs / "held")
        (self._programs / "going-on").unlink(missing_ok=True)
        os.mkfifo(self._programs / "going-on")

    async def begun(self) -> int:
        """The number of the process that waits; the next one does not."""
        held = self._programs / "held"
        pid = int(await asyncio.to_thread(held.read_text))
        held.unlink()
        return pid

    async def let_go(self) -> None:
        await asyncio.to_thread((self._programs / "going-on").write_text, "")

    def _spawn(self, inherited: int) -> subprocess.Popen[bytes]:
        over = f'mount --bind {self._programs} /usr/local/sbin && exec "$@"'
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", over, "sh"]
        argv += self._started(inherited)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return subprocess.Popen(argv, pass_fds=[inherited], env=environment)
