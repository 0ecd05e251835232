"""Programs that are started one after another: as ``posix_spawn`` would start them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry.host import process, starter
from gantry.host.outputs import Output, Outputs
from gantry.host.starter import Starter, variables_of

VARIABLES = variables_of({"PATH": "/usr/bin:/bin", "TEXT": "ä\n="})
STATUS = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
LIBC = 1 << 31 | 1 << 32
"""The two signals of the C library itself, which its ``posix_spawn`` leaves ignored."""
WITH_SIGNALS = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.unit.host.test_starter import STATUS, said
from gantry.host.outputs import Outputs
{before}
with Outputs(None) as outputs:
    sys.stdout.write(said(STATUS, outputs, quick={quick}))
"""


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[Outputs]:
    with Outputs(tmp_path) as made:
        yield made


def start(made: Starter, text: str, files: tuple[Output, Output]) -> process.Program:
    program = made.start(["/bin/sh", "-c", text], VARIABLES, files)
    return process.watched(program.pid, program.began) if made.quick else program


def children() -> set[int]:
    """This process's, also those that have ended and wait for somebody to ask."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry.name))
    return found


def said(text: str, outputs: Outputs, *, quick: bool = True) -> str:
    """What a shell that is given ``text`` writes."""
    files = outputs.take()
    with Starter() as made:
        made.many()
        program = start(made, text, files)
        assert made.quick is quick
        ended = process.finish(program, timeout=100)
    assert ended.exit_status == 0
    return b"".join(os.pread(one.descriptor, 65536, 0) for one in files).decode()


def test_a_program_is_given_its_variables_and_nothing_else(outputs: Outputs) -> None:
    found = said("tr '\\0' '\\1' < /proc/self/environ", outputs)
    assert sorted(found.encode().rstrip(b"\1").split(b"\1")) == sorted(VARIABLES)


def test_a_program_has_a_session_of_its_own_and_three_files(outputs: Outputs) -> None:
    keep = os.open("/", os.O_RDONLY)
    try:
        found = said(
            'read -r stat < /proc/$$/stat; set -- $stat; echo "$(($1 == $6)) $7"; '
            "ls /proc/$$/fd; readlink /proc/$$/fd/0; echo err >&2",
            outputs,
        )
    finally:
        os.close(keep)
    assert found.split() == ["1", "0", "0", "1", "2", "/dev/null", "err"]


@pytest.mark.parametrize(
    ("before", "quick"),
    [
        ("", True),
        ("signal.signal(signal.SIGTERM, lambda *_: None)", True),
        ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", False),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})", False),
    ],
)
def test_signals_are_as_they_are_at_first(before: str, quick: bool) -> None:
    program = WITH_SIGNALS.format(before=before, quick=quick)
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parents[3])],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    blocked, ignored = (int(line.split()[1], 16) for line in done.stdout.splitlines())
    assert (blocked, ignored & ~LIBC) == (0, 0)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("content", "error"),
    [(None, FileNotFoundError), ("no program", OSError), ("#!/no/such\n", FileNotFoundError)],
)
def test_what_cannot_be_executed_is_told_at_once(
    tmp_path: Path, outputs: Outputs, content: str | None, error: type[OSError], several: bool
) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
        program.chmod(0o755)
    files = outputs.take()
    before = len(list(Path("/proc/self/fd").iterdir()))
    others = children()
    with Starter() as made:
        if several:
            made.many()
        for _ in range(2):
            with pytest.raises(error) as caught:
                made.start([str(program)], VARIABLES, files)
            assert caught.value.errno is not None
            assert caught.value.strerror == os.strerror(caught.value.errno)
        # It does no harm to the next one.
        assert process.finish(start(made, "exit 3", files), timeout=100).exit_status == 3
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert children() <= others


def test_an_environment_that_is_too_large_is_told_too(outputs: Outputs) -> None:
    with Starter() as made:
        made.many()
        with pytest.raises(OSError, match="too long"):
            made.start(["/bin/true"], [b"A=" + b"x" * 200_000], outputs.take())


@pytest.mark.parametrize("wrong", [{"A\0": ""}, {"A": "b\0B=c"}, {"": "x"}, {"A=B": "c"}])
def test_variables_that_no_program_can_be_given(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"illegal|embedded"):
        variables_of({"GOOD": "x", **wrong})


def test_where_it_is_not_known_how_it_is_started_as_before(
    outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "TRIED", False)
    assert said("echo out", outputs, quick=False) == "out\n"


def test_the_signals_of_this_process_can_be_read() -> None:
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        with Starter() as made:
            made.many()
            assert not made.quick
    finally:
        signal.signal(signal.SIGUSR2, before)
