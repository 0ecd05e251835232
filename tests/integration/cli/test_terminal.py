"""Real processes on real pipes and terminals: colours, Ctrl-C, readers that leave."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys

import pytest
from tests.fakes.cluster import node_uuid
from tests.integration.cli.conftest import Commands, guest, live

from gantry.model.jobs import JobStatus
from gantry.model.names import JobId

FIRST = JobId(1)
PROGRAM = "import sys; from gantry.main.gnt import main; sys.exit(main(sys.argv[1], sys.argv[2:]))"
BEGINNING = "\033["


def environment(gnt: Commands, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return {**kept, "GANTRY_ROOT": str(gnt.root), "TERM": "xterm", **more}


class Terminal:
    """A command on a terminal of its own: it reads, sees and writes there, and can be typed to."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self.seen = ""
        self._descriptor = descriptor
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @classmethod
    async def run(cls, gnt: Commands, line: str, **more: str) -> Terminal:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-c", PROGRAM),
            *line.split(),
            env=environment(gnt, **more),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(theirs), os.O_RDWR)),
        )
        os.close(theirs)
        return cls(process, ours)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 4096)
        except OSError:
            # Linux says so when the last process has left the terminal.
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self.seen += data.decode()
        self._came.set()

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(100):
            while text not in self.seen:
                self._came.clear()
                await self._came.wait()

    def types(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    async def ends(self) -> int:
        async with asyncio.timeout(100):
            status = await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        return status


async def piped(gnt: Commands, line: str, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-c", PROGRAM),
        *line.split(),
        env=environment(gnt, **more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def started(gnt: Commands, line: str, **more: str) -> Terminal:
    """A job command on a terminal, whose job has come and said something."""
    terminal = await Terminal.run(gnt, line, **more)
    await gnt.queue.arrived.get()
    await gnt.queue.begin(FIRST)
    await gnt.queue.say(FIRST, "first line")
    await terminal.shows("first line")
    return terminal


async def test_leaving_a_job_on_ctrl_c_lets_it_run(gnt: Commands) -> None:
    terminal = await started(gnt, "gnt-instance start web1")
    terminal.types("\x03")
    await terminal.shows("[c]ancel job 1")
    terminal.types("l\n")
    assert await terminal.ends() == 130
    assert "gnt-job watch 1" in terminal.seen
    assert not gnt.queue.cancelled
    assert gnt.queue.jobs()[0].status is JobStatus.RUNNING


async def test_cancelling_a_job_on_ctrl_c_shows_its_end(gnt: Commands) -> None:
    terminal = await started(gnt, "gnt-instance start web1")
    terminal.types("\x03")
    await terminal.shows("[c]ancel job 1")
    terminal.types("c\n")
    assert await terminal.ends() == 1
    assert gnt.queue.cancelled == [(1, True)]
    assert "Job 1 was cancelled" in terminal.seen


async def test_waiting_on_after_ctrl_c_loses_no_line_and_repeats_none(gnt: Commands) -> None:
    terminal = await started(gnt, "gnt-instance start web1")
    terminal.types("\x03")
    await terminal.shows("[c]ancel job 1")
    await gnt.queue.say(FIRST, "second line")
    terminal.types("w\n")
    await terminal.shows("second line")
    await gnt.queue.end(FIRST)
    assert await terminal.ends() == 0
    assert terminal.seen.count("first line") == 1


async def test_a_second_ctrl_c_at_the_question_leaves(gnt: Commands) -> None:
    terminal = await started(gnt, "gnt-instance start web1")
    terminal.types("\x03")
    await terminal.shows("[c]ancel job 1")
    terminal.types("\x03")
    assert await terminal.ends() == 130
    assert not gnt.queue.cancelled


async def test_ctrl_c_without_a_terminal_leaves_the_job_running(gnt: Commands) -> None:
    process = await piped(gnt, "gnt-instance start web1")
    await gnt.queue.arrived.get()
    await gnt.queue.say(FIRST, "first line")
    assert process.stdout is not None
    assert b"first line" in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, complaint = await process.communicate()
    assert process.returncode == 130
    assert b"gnt-job watch 1" in complaint
    assert not gnt.queue.cancelled


@pytest.mark.parametrize(
    ("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
async def test_warnings_are_coloured_on_a_terminal_that_may(
    gnt: Commands, more: dict[str, str], coloured: bool
) -> None:
    terminal = await started(gnt, "gnt-instance start web1", **more)
    await gnt.queue.warn(FIRST, "look here")
    await gnt.queue.end(FIRST)
    await terminal.shows("look here")
    assert await terminal.ends() == 0
    assert (BEGINNING in terminal.seen) is coloured


async def test_nothing_is_coloured_in_a_pipe(gnt: Commands) -> None:
    process = await piped(gnt, "gnt-instance start web1")
    await gnt.queue.arrived.get()
    await gnt.queue.warn(FIRST, "look here")
    await gnt.queue.end(FIRST)
    shown, _ = await process.communicate()
    assert b" - WARNING: look here" in shown
    assert BEGINNING.encode() not in shown


async def test_a_confirmation_is_asked_on_the_terminal_and_no_is_13(gnt: Commands) -> None:
    terminal = await Terminal.run(gnt, "gnt-instance remove web1")
    await terminal.shows("y/[n]: ")
    terminal.types("\n")
    assert await terminal.ends() == 13
    assert not gnt.queue.submissions
    gnt.queue.at_once = True
    terminal = await Terminal.run(gnt, "gnt-instance remove web1")
    await terminal.shows("y/[n]: ")
    terminal.types("y\n")
    assert await terminal.ends() == 0


@pytest.mark.parametrize("line", ["gnt-instance list-fields", "gnt-instance add --help"])
async def test_a_reader_that_leaves_is_no_error(gnt: Commands, line: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-c", PROGRAM),
        *line.split(),
        env=environment(gnt),
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    _, complaint = await process.communicate()
    assert (process.returncode, complaint) == (0, b"")


async def test_other_peoples_control_characters_do_not_reach_the_terminal(gnt: Commands) -> None:
    terminal = await started(gnt, "gnt-instance start web1", NO_COLOR="1")
    await gnt.queue.say(FIRST, "evil \x1b]0;title\x07")
    await gnt.queue.end(FIRST)
    assert await terminal.ends() == 0
    assert "\x1b" not in terminal.seen


async def test_names_show_in_any_locale(gnt: Commands) -> None:
    process = await piped(gnt, "gnt-instance add --help", LC_ALL="POSIX", PYTHONUTF8="0")
    shown, complaint = await process.communicate()
    assert (process.returncode, complaint) == (0, b"")
    assert b"--os-size" in shown


async def test_a_guest_that_should_not_run_has_a_console(gnt: Commands) -> None:
    gnt.queue.set_live(node_uuid(2), live(guest(2)))
    process = await piped(gnt, "gnt-instance console web2")
    async with asyncio.timeout(100):
        await gnt.services.attached.wait()
        gnt.services.consoles[0][2].say(b"login:")
        gnt.services.consoles[0][2].end()
        out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"login:")


async def test_who_gets_no_console_is_told_why(gnt: Commands) -> None:
    process = await piped(gnt, "gnt-instance console web3")
    async with asyncio.timeout(100):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"web3.example.com is not running" in said
    assert b"gnt-instance start" in said
