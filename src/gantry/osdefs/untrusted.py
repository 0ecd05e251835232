"""Installing an instance with ``create_untrusted``, in a guest that is there for it alone.

The guest gets the definition and the environment as a disk (``gantry.osdefs.package``), the
instance's disks behind that of its image, and says on its second serial port when the script
has begun and how it ended. To all others it is a script like ``create``, whose process is
QEMU's: its output is the guest's console, and it ends with its deadline, its job or its agent.
How QEMU is called is the caller's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.model.live import OsFacts
from gantry.model.orders import InstallationGuest, OsRun
from gantry.osdefs import check, environment, logged, running
from gantry.osdefs.running import Ended

STARTED: Final = b"started"
_ENDED: Final = re.compile(rb"ended (\d{1,3})")
_MOST: Final = 4096
"""Bytes that a guest may say of how it is; what is more waits for ever."""
_SCRIPT: Final = "OS_SCRIPT"


def variables(
    facts: OsFacts, run: OsRun, *, reinstall: bool, secrets: Mapping[str, str] | None
) -> dict[str, str]:
    """What ``create`` would get, with the disks as the guest sees them; and which script it is."""
    paths = [f"/dev/vd{chr(ord('b') + index)}" for index in range(len(run.disks))]
    told = environment.create(facts, run, paths, reinstall=reinstall, secrets=secrets)
    return {**told, _SCRIPT: check.CREATE_UNTRUSTED}


class Results:
    """What a guest says of how it is, while it runs. Use ``results``."""

    def __init__(self, source: int, target: int) -> None:
        self.target = target
        """The end of the pipe that the guest has."""
        self.started = asyncio.Event()
        self._source = source
        self._said = b""

    def read(self) -> None:
        """Take what is there."""
        with contextlib.suppress(BlockingIOError):
            self._said += os.read(self._source, _MOST - len(self._said))
        if len(self._said) >= _MOST:
            asyncio.get_running_loop().remove_reader(self._source)
        if STARTED in self._words():
            self.started.set()

    def status(self) -> int | None:
        """The exit status of the script; None where nothing was said of it."""
        self.read()
        ends = [match for word in self._words() if (match := _ENDED.fullmatch(word))]
        return int(ends[-1][1]) if ends else None

    def _words(self) -> list[bytes]:
        return [line.strip() for line in self._said.split(b"\n")]


@contextlib.contextmanager
def results() -> Iterator[Results]:
    """A pipe for a guest, which is read as long as the context lasts."""
    source, target = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(source, False)
    loop, it = asyncio.get_running_loop(), Results(source, target)
    loop.add_reader(source, it.read)
    try:
        yield it
    finally:
        loop.remove_reader(source)
        os.close(source)
        os.close(target)


async def install(
    facts: OsFacts,
    run: OsRun,
    command: running.Guest,
    said: Results,
    care: logged.Care,
    *,
    guest: InstallationGuest,
    temporary: Path,
    disks: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
) -> Path:
    """Run ``command``, which is the guest, to its end, and return the path of its log.

    OperationFailed as ``logged.run_logged`` says, and where the guest does not begin or end in
    time, or ends without a word of how the script did. ``temporary``: where QEMU may keep what
    the guest writes to its image. ``disks``: real paths of the instance's, so that it is said
    where there is no room for what the guest writes.
    """
    # Not the script's variables, which anybody on the node could read then; a secret one is one.
    environment = {
        "PATH": os.defpath,
        "LC_ALL": "C",
        "TMPDIR": str(temporary),
        "INSTANCE_UUID": run.uuid,
        "OS_NAME": facts.name,
    }
    it = logged.Scripted(
        facts=facts,
        script=check.CREATE_UNTRUSTED,
        run=run,
        variables=environment,
        kind="add",
        instance=run.name,
        doing=f"installing {run.name}",
        hidden=(*run.private_parameters.values(), *(secrets or {}).values()),
        files=(*disks, str(temporary)),
        guest=command,
    )
    return await logged.run_logged(it, care, _watched(said, guest))


def _watched(said: Results, guest: InstallationGuest) -> logged.Watch:
    """Ended where it does not begin, or end, in time; judged by its word, not by QEMU's status."""

    async def watch(script: Coroutine[None, None, Ended]) -> Ended:
        work = asyncio.ensure_future(script)
        begun = asyncio.ensure_future(said.started.wait())
        try:
            await asyncio.wait(
                {work, begun}, timeout=guest.startup, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done() and not begun.done():
                return _not_begun(guest.startup)
            await asyncio.wait({work}, timeout=guest.shutdown)
            return _judged(work.result(), said) if work.done() else _not_ended(guest.shutdown)
        finally:
            begun.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    return watch


def _not_begun(startup: float) -> Ended:
    how = (
        f"was not begun by the installation guest within {startup:g} s, so that was ended; "
        "is it an install image, with a console on ttyS0?"
    )
    return Ended(succeeded=False, how=how)


def _not_ended(shutdown: float) -> Ended:
    how = f"did not end within {shutdown:g} s of its beginning, so its guest was ended"
    return Ended(succeeded=False, how=how)


def _judged(ended: Ended, said: Results) -> Ended:
    if not ended.succeeded:
        return msgspec.structs.replace(ended, how=f"in its guest: QEMU {ended.how}")
    status = said.status()
    if status is None:
        how = "did not tell how it ended: the installation guest went off without a word of it"
        return msgspec.structs.replace(ended, succeeded=False, how=how, exit_status=None)
    return msgspec.structs.replace(
        ended,
        succeeded=status == 0,
        exit_status=status,
        how=f"ended with exit status {status} in its installation guest",
    )
