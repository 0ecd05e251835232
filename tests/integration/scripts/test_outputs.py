"""What scripts write is kept by name, cut where it is long, and mixed with nothing else."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import Hooks

from gantry.hooks.verdict import NodeScripts, denial
from gantry.host import outputs
from gantry.host.outputs import GAP, HALF, Outputs
from gantry.model.orders import ScriptResult, ScriptStatus, Stream


@pytest.fixture
def hooks(both: Hooks) -> Hooks:
    return both


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    made = tmp_path / "outputs"
    made.mkdir()
    return made


async def run(hooks: Hooks, kept: Path, timeout: float | None = None) -> tuple[ScriptResult, ...]:
    return await hooks.carried_out(hooks.order(), outputs=kept, timeout=timeout)


def files(kept: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(kept.iterdir())}


async def test_only_what_was_written_has_a_file(hooks: Hooks, kept: Path) -> None:
    hooks.script("10-silent", "exit 0")
    hooks.script("20-out", "echo out")
    hooks.script("30-err", "echo err >&2")
    hooks.script("40-both", "echo out; echo err >&2")
    silent, out, err, both = await run(hooks, kept)
    assert (silent.stdout, silent.stderr) == (Stream(), Stream())
    assert (out.stdout, out.stderr) == (Stream(size=4, file="0001.out"), Stream())
    assert (err.stdout, err.stderr) == (Stream(), Stream(size=4, file="0002.err"))
    assert (both.stdout.file, both.stderr.file) == ("0003.out", "0003.err")
    assert files(kept) == {
        "0001.out": b"out\n",
        "0002.err": b"err\n",
        "0003.err": b"err\n",
        "0003.out": b"out\n",
    }
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}


async def test_what_is_long_is_kept_cut_and_said_so(hooks: Hooks, kept: Path) -> None:
    hooks.script("10-long", "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo last")
    [result] = await run(hooks, kept)
    assert result.stdout == Stream(size=3_000_011, cut=True, file="0000.out")
    assert result.truncated
    content = (kept / "0000.out").read_bytes()
    assert len(content) == 2 * HALF + len(GAP)
    assert content.startswith(b"first\n") and GAP in content and content.endswith(b"last\n")


@pytest.fixture
def small(kept: Path) -> Iterator[Path]:
    """The place of the outputs, on a file system of 64 KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", kept], check=True)
    yield kept
    subprocess.run(["umount", "-l", kept], check=True)


@pytest.mark.root
async def test_a_script_that_fails_since_its_output_has_no_room_says_so(
    hooks: Hooks, small: Path
) -> None:
    (small / "other").write_bytes(b"x" * 60 * 1024)
    hooks.script("10-some", "head -c 8192 /dev/zero | tr '\\0' x || exit 3")
    hooks.script("20-none", "echo no || exit 4")
    hooks.script("30-silent", "exit 0")
    hooks.script("40-heedless", "echo lost; exit 0")
    some, none, silent, heedless = await run(hooks, small)
    said = "[what it wrote could not be kept: No space left on device]"
    assert (some.output, some.exit_status) == ("x" * 4096 + said, 3)
    assert (none.output, none.exit_status) == (said, 4)
    assert (silent.output, heedless.output) == ("", ""), "who does not fail denies nothing"
    denied = denial([NodeScripts(node="node1", results=(some, none))])
    assert denied is not None
    assert f"script: {none.directory}/20-none, output: {said} (exit status 4)" in denied.message
    (small / "other").unlink()
    (small / "0000.out").unlink()
    _, none, _, _ = await run(hooks, small)
    assert (none.output, none.exit_status) == ("no\n", 0), "there is room again"


@pytest.mark.root
def test_a_script_of_another_user_has_not_all_the_room_of_root(kept: Path) -> None:
    """A file system that keeps some for root."""
    image = kept.parent / "image"
    subprocess.run(["truncate", "-s", "2M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "20", "-O", "^has_journal", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, kept], check=True)
    try:
        with (kept / "other").open("wb") as other:
            other.truncate(0)
            free = os.statvfs(kept)
            os.posix_fallocate(other.fileno(), 0, free.f_bavail * free.f_bsize)
        with Outputs(kept / "run") as outputs_:
            assert (outputs_.without_room(None), outputs_.without_room(65534)) == (
                "",
                "No space left on device",
            )
    finally:
        subprocess.run(["umount", "-l", kept], check=True)


async def test_a_child_in_the_background_never_writes_into_the_next_ones_file(
    hooks: Hooks, kept: Path, tmp_path: Path
) -> None:
    """A file that nobody wrote to is used again, but not while anybody has it open."""
    go, pid = tmp_path / "go", tmp_path / "pid"
    child = f"(while ! [ -e {go} ]; do sleep 0.01; done; echo late; echo late >&2; touch {go}.done)"
    hooks.script("10-daemon", f"{child} & echo $! > {pid}")
    hooks.script(
        "20-next",
        f"touch {go}; while ! [ -e {go}.done ]; do sleep 0.01; done; echo mine; echo mine >&2",
    )
    hooks.script("30-silent", "exit 0")
    daemon, following, silent = await run(hooks, kept)
    assert (following.output, silent.output) == ("mine\nmine\n", "")
    # On a busy machine its own file is looked at after the child has written to it.
    assert daemon.output in ("", "late\nlate\n")
    late = {"0000.out": b"late\n", "0000.err": b"late\n"} if daemon.output else {}
    assert files(kept) == {**late, "0001.out": b"mine\n", "0001.err": b"mine\n"}


async def test_a_script_that_takes_long_has_its_files_while_it_runs(
    hooks: Hooks, kept: Path, tmp_path: Path
) -> None:
    """So what it wrote is there even if the agent is killed."""
    hooks.script("10-long", f"echo begun; while ! [ -e {tmp_path}/go ]; do sleep 0.01; done")
    task = asyncio.create_task(run(hooks, kept, timeout=60.0))
    async with asyncio.timeout(100):
        while not (kept / "0000.out").exists():  # noqa: ASYNC110 - it comes from a thread
            await asyncio.sleep(0.02)
    assert files(kept) == {"0000.out": b"begun\n", "0000.err": b""}
    (tmp_path / "go").touch()
    [result] = await task
    assert result.stdout == Stream(size=6, file="0000.out")
    assert files(kept) == {"0000.out": b"begun\n"}


async def test_a_long_one_that_writes_much_is_cut_in_its_place(
    hooks: Hooks, kept: Path, tmp_path: Path
) -> None:
    wait = f"while ! [ -e {tmp_path}/go ]; do sleep 0.01; done"
    hooks.script("10-long", f"head -c 3000000 /dev/zero; {wait}")
    task = asyncio.create_task(run(hooks, kept, timeout=60.0))
    async with asyncio.timeout(100):
        while not (kept / "0000.out").exists():  # noqa: ASYNC110 - it comes from a thread
            await asyncio.sleep(0.02)
    (tmp_path / "go").touch()
    [result] = await task
    assert result.stdout.cut
    assert {name: len(content) for name, content in files(kept).items()} == {
        "0000.out": 2 * HALF + len(GAP)
    }


async def test_many_outputs_are_cut_to_what_an_answer_holds_and_kept_whole(
    hooks: Hooks, kept: Path
) -> None:
    for number in range(8):
        hooks.script(f"{number}-much", "head -c 900000 /dev/zero | tr '\\0' x")
    results = await run(hooks, kept)
    assert sum(len(one.output) for one in results) < 4 * HALF + 8 * 1024
    assert [one.truncated for one in results] == [False, False] + [True] * 6
    assert not any(one.stdout.cut for one in results)
    assert {len(content) for content in files(kept).values()} == {900_000}


async def test_where_no_file_can_be_without_a_name_a_copy_is_kept(
    hooks: Hooks, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def no_unnamed(path: str, flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", no_unnamed)
    hooks.script("10-out", "echo out")
    [result] = await run(hooks, kept)
    assert (result.output, result.stdout) == ("out\n", Stream(size=4, file="0000.out"))
    assert files(kept) == {"0000.out": b"out\n"}


async def test_a_directory_of_outputs_that_a_script_removes_is_no_failure(
    hooks: Hooks, kept: Path
) -> None:
    hooks.script("05-made", "echo made")
    # What the first one wrote is looked at while this one runs.
    until = f"until [ -e {kept}/0000.out ]; do sleep 0.01; done"
    hooks.script("10-removes", f"{until}; rm -rf {kept}; echo out")
    hooks.script("20-next", "echo next")
    _, first, second = await run(hooks, kept)
    assert (first.status, first.output, first.stdout.file) == (ScriptStatus.SUCCEEDED, "out\n", "")
    assert second.problem.startswith("cannot be executed: no file for its output") or (
        second.output == "next\n"
    )


def test_a_file_is_used_again_only_when_nobody_has_it_open(kept: Path) -> None:
    with Outputs(kept) as made:
        out, errors = made.take()
        found = [out.reusable, errors.reusable]
        held = os.open(out.path, os.O_WRONLY | os.O_APPEND)
        found.append(out.reusable)
        os.close(held)
        assert [*found, out.reusable] == [True, True, False, True]
        made.close(out, "x")
        made.close(errors, "y")
        assert {one.descriptor for one in made.take()} == {out.descriptor, errors.descriptor}


async def test_nothing_is_left_open(hooks: Hooks, kept: Path, tmp_path: Path) -> None:
    hooks.script("10-a", "echo a")
    hooks.script("20-b", "exit 0")
    hooks.script("30-c", "kill -9 $$")
    await run(hooks, kept)

    def held() -> int:
        """But for the empty files that wait for another sequence."""
        spare = outputs._spare(kept.stat().st_dev)
        assert len(spare) <= 32
        return len(list(Path("/proc/self/fd").iterdir())) - len(spare)

    before = held()
    for _ in range(3):
        assert (await run(hooks, kept))[2].signal == signal.SIGKILL
    assert held() == before


async def test_nothing_is_left_open_of_what_was_opened_ahead(hooks: Hooks, kept: Path) -> None:
    """Files are opened while the script before runs, also for one that does not run then."""
    bad = hooks.script("20-bad")
    bad.write_text("#!/no/such/interpreter\n")
    hooks.script("30-ok", "exit 0")
    hooks.script("50-ok", "exit 0")

    async def statuses() -> list[ScriptStatus]:
        gone = hooks.script("40-gone")
        hooks.script("10-removes", f"rm {gone}")
        return [one.status for one in await run(hooks, kept)]

    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir())) - len(outputs._spare(device))

    device = kept.stat().st_dev
    ok, failed, skipped = ScriptStatus.SUCCEEDED, ScriptStatus.FAILED, ScriptStatus.SKIPPED
    assert await statuses() == [ok, failed, ok, skipped, ok]
    before = held()
    for _ in range(3):
        await statuses()
    assert held() == before
    assert all(one.reusable for one in outputs._spare(device)), "somebody has one of them open"


OPENS = "import os, sys\nwhile True: os.close(os.open(sys.argv[1], os.O_RDONLY))"
LOOKS = """
import sys, time
from gantry.host.spawner_program import only_ours
file = open(sys.argv[1], "rb+")
found = set()
until = time.monotonic() + 60
while len(found) < 2 and time.monotonic() < until:
    found |= {only_ours(file.fileno()) for _ in range(20_000)}
print(sorted(found))
"""


def test_who_looks_whether_a_file_is_open_is_not_ended_when_it_is_opened(tmp_path: Path) -> None:
    """A lease that somebody breaks is told by a signal, which ends a process as it is at first."""
    file = tmp_path / "file"
    file.touch()
    with subprocess.Popen([sys.executable, "-c", OPENS, str(file)]) as opening:
        try:
            done = subprocess.run(
                [sys.executable, "-c", LOOKS, str(file)],
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        finally:
            opening.kill()
    assert (done.returncode, done.stdout) == (0, "[False, True]\n"), done.stderr
