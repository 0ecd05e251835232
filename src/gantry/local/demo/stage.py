"""Shows commands and runs them where the audience sees what they say.

What is shown in which order is not known here.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Mapping, Sequence

from gantry.host import process
from gantry.host.command import in_thread
from gantry.model import timeouts
from gantry.model.errors import OperationFailed

CONSOLE_LINE = 8192
"""Bytes of a console that are kept while a text is waited for."""


class Stage:
    """Prints to standard output; runs programs with ``environment``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def tell(self, text: str) -> None:
        """A heading."""
        self._write(f"\n{self._marked(f'# {text}', '1')}\n")

    def show(self, argv: Sequence[str]) -> None:
        """The command that is about to run."""
        self._write(self._marked(f"$ {shlex.join(argv)}", "36") + "\n")

    def write(self, text: str) -> None:
        """Output that is no command's."""
        self._write(text)

    async def run(self, *argv: str, fails: bool = False, timeout: float = timeouts.FAST) -> None:
        """Show and run a command, its output as it comes; it must succeed, or fail if so said."""
        self.show(argv)
        stop = process.Stop()

        def work() -> process.Ended:
            return process.run(
                [self._find(argv[0]), *argv[1:]],
                self._environment,
                stdout=1,
                stderr=1,
                directory="/",
                timeout=timeout,
                stop=stop,
            )

        ended = await in_thread(stop, work)
        if ended.succeeded is fails or ended.timed_out or ended.problem:
            how = ended.problem or (
                f"took longer than {timeout:g} s"
                if ended.timed_out
                else f"ended with {_how(ended)}"
            )
            wanted = " (it was to be denied)" if fails else ""
            raise OperationFailed(f"{shlex.join(argv)} {how}{wanted}")

    async def watch_console(self, *argv: str, until: str, timeout: float) -> None:
        """Show what a console says until ``until`` comes; OperationFailed if it does not."""
        self.show(argv)
        output, theirs = os.pipe()
        os.set_blocking(output, False)
        stdin, held = os.pipe()  # never written: the end of input would detach the console
        stop = process.Stop()

        def work() -> process.Ended:
            return process.run(
                [self._find(argv[0]), *argv[1:]],
                self._environment,
                stdin=stdin,
                stdout=theirs,
                stderr=theirs,
                directory="/",
                timeout=timeout,
                stop=stop,
            )

        running = asyncio.ensure_future(in_thread(stop, work))
        running.add_done_callback(lambda _task: os.close(theirs))
        try:
            await self._read_until(output, until, timeout)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for descriptor in (output, stdin, held):
                os.close(descriptor)

    async def _read_until(self, descriptor: int, until: str, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_reader(descriptor, came.set)
        seen = b""
        try:
            async with asyncio.timeout(timeout):
                while until.encode() not in seen:
                    came.clear()
                    await came.wait()
                    try:
                        data = os.read(descriptor, 4096)
                    except BlockingIOError:  # the loop had told of what was read already
                        continue
                    if not data:
                        raise OperationFailed(f"the console ended before it said {until!r}")
                    seen = (seen + data)[-CONSOLE_LINE:]
                    self._write(data.decode(errors="replace").replace("\r", ""))
        except TimeoutError as error:
            raise OperationFailed(
                f"the guest did not say {until!r} within {timeout:g} s"
            ) from error
        finally:
            loop.remove_reader(descriptor)
        self._write("\n")

    def _find(self, program: str) -> str:
        for directory in self._environment["PATH"].split(":"):
            candidate = f"{directory}/{program}"
            if os.access(candidate, os.X_OK):
                return candidate
        raise OperationFailed(f"the program {program} is not installed")

    def _marked(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _how(ended: process.Ended) -> str:
    if ended.signal is not None:
        return f"signal {ended.signal}"
    return f"exit status {ended.exit_status}"
