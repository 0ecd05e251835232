"""What is kept of a script's output, whatever it writes and in which pieces."""

from __future__ import annotations

import os
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from gantry.osdefs.spool import Spool


def kept(pieces: list[bytes], first: int, last: int) -> tuple[bytes, int]:
    with tempfile.TemporaryFile() as file:
        with Spool(file.fileno(), first, last) as spool:
            for piece in pieces:
                os.write(spool.descriptor, piece)
        file.seek(0)
        return file.read(), spool.left_out


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=12),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_the_beginning_and_the_end_are_kept_and_the_rest_is_counted(
    pieces: list[bytes], first: int, last: int
) -> None:
    whole = b"".join(pieces)
    found, left_out = kept(pieces, first, last)
    if len(whole) <= first + last:
        assert (found, left_out) == (whole, 0)
    else:
        missing = len(whole) - first - last
        note = f"\n({missing} bytes left out)\n".encode()
        assert left_out == missing
        assert found == whole[:first] + note + whole[-last:]


def test_who_still_has_the_pipe_open_is_not_waited_for() -> None:
    with tempfile.TemporaryFile() as file:
        with Spool(file.fileno(), 10, 10) as spool:
            another = os.dup(spool.descriptor)
            os.write(another, b"before")
        os.close(another)
        file.seek(0)
        assert file.read() == b"before"


def test_a_file_that_cannot_be_written_is_said_and_holds_nobody_up() -> None:
    with open("/dev/full", "wb", 0) as full:  # noqa: PTH123 - a device
        with Spool(full.fileno(), 10, 10) as spool:
            for _ in range(100):
                os.write(spool.descriptor, b"x" * 65536)
        assert spool.problem == "No space left on device"
