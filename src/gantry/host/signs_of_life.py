"""Whether programs and connections get on, as the system tells: nobody has to ask them."""

from __future__ import annotations

import ipaddress
import re
import sys
from pathlib import Path
from typing import Final

from gantry.host.daemon import Identity, identity

_TURNS: Final = re.compile(rb"ctxt_switches:\s*(\d+)")
_ESTABLISHED: Final = "01"
_LOST_PROBE: Final = 1
"""One may be lost, or its answer held back; it takes up to two minutes until the next."""


def turns(which: Identity) -> int:
    """How often a process's threads have had the processor; 0 where it runs no more.

    It changes whenever the process does anything at all. Threads that end are not counted any
    more, so that it also changes then.
    """
    found = 0
    try:
        if identity(which.pid) != which:
            return 0
        for thread in Path(f"/proc/{which.pid}/task").iterdir():
            found += sum(map(int, _TURNS.findall((thread / "status").read_bytes())))
    except OSError:
        return found
    return found


def unanswered(host: str, port: int, proc: Path = Path("/proc/self/net")) -> bool:
    """Whether a connection of this machine to there waits for an answer that is due.

    That is: what was sent had to be sent again, or the question whether there is room again has
    not been answered. A program at the other end that takes its time to read is neither. ``host``
    is an address.
    """
    peers = _written(host, port)
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[2] in peers and fields[3] == _ESTABLISHED:
                retransmits, probes = int(fields[6], 16), int(fields[8])
                if retransmits or probes > _LOST_PROBE:
                    return True
    return False


def _written(host: str, port: int) -> frozenset[str]:
    """The ways in which ``/proc/net/tcp`` and ``tcp6`` write an address."""
    address = ipaddress.ip_address(host)
    forms = [address.packed]
    if address.version == 4:
        forms.append(bytes(10) + b"\xff\xff" + address.packed)
    return frozenset(f"{_words(form)}:{port:04X}" for form in forms)


def _words(packed: bytes) -> str:
    """As 32-bit words of this machine."""
    words = (packed[place : place + 4] for place in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
