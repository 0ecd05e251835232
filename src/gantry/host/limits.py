"""What a program that has just been started may use of the machine."""

from __future__ import annotations

import contextlib
import resource

import msgspec

from gantry.host.daemon import Identity


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the largest file that it may write, bytes of memory, seconds of a processor.

    None: as much as it likes. The kernel ends it with SIGXFSZ, refuses it, ends it with SIGXCPU.
    """

    file: int | None = None
    memory: int | None = None
    processor: int | None = None

    def impose(self, which: Identity) -> None:
        """From now on; nothing where it has ended. What it leaves is no core dump."""
        wanted = (
            (resource.RLIMIT_FSIZE, self.file),
            (resource.RLIMIT_AS, self.memory),
            (resource.RLIMIT_CPU, self.processor),
            (resource.RLIMIT_CORE, 0),
        )
        with contextlib.suppress(ProcessLookupError):
            for limit, most in wanted:
                if most is not None:
                    resource.prlimit(which.pid, limit, (most, most))
