"""Several programs as one: what goes through, who fails, who is ended."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gantry.host import pipeline
from gantry.host.command import ENVIRONMENT
from gantry.host.daemon import Identity, identity
from gantry.host.pipeline import Failed, Stage
from gantry.model.errors import OperationFailed

LIMIT = 60.0


class Run:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[Identity] = []

    def stage(self, *argv: str) -> Stage:
        number = len(list(self.directory.iterdir()))
        errors = self.directory / f"errors{number}"
        errors.touch()
        return Stage(argv=argv, errors=errors, environment=ENVIRONMENT)

    async def run(self, *argvs: tuple[str, ...], timeout: float = LIMIT) -> str:
        reading, writing = pipeline.pipe()
        stages = [self.stage(*argv) for argv in argvs]
        try:
            await pipeline.run(
                stages,
                stdout=writing,
                timeout=timeout,
                started=lambda _, which: self.started.append(which),
            )
            return os.read(reading, 1000).decode()
        finally:
            os.close(reading)

    def all_ended(self) -> bool:
        return not any(identity(one.pid) == one for one in self.started)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def shell(text: str) -> tuple[str, ...]:
    return ("sh", "-c", text)


async def test_what_one_writes_the_next_one_reads(run: Run) -> None:
    assert await run.run(("echo", "one"), ("tr", "a-z", "A-Z"), shell("cat; echo two")) == (
        "ONE\ntwo\n"
    )
    assert len(run.started) == 3


async def test_says_how_much_a_copy_was(run: Run, tmp_path: Path) -> None:
    await run.run(("head", "-c", "3000000", "/dev/zero"), ("dd", "bs=1M"), ("wc", "-c"))
    assert sorted(pipeline.copied(path) for path in tmp_path.iterdir()) == [0, 0, 3000000]


async def test_the_failure_of_one_is_that_of_all_in_its_words(run: Run) -> None:
    with pytest.raises(Failed) as caught:
        await run.run(("yes",), shell("read one; echo it broke >&2; exit 3"), ("cat",))
    assert caught.value.message == "sh ended with exit status 3: it broke"
    assert run.all_ended()


async def test_who_left_the_others_is_named_also_where_he_ends_after_them(run: Run) -> None:
    late = shell("read one; exec <&-; sleep 0.3; echo it broke >&2; exit 3")
    with pytest.raises(Failed) as caught:
        await run.run(("yes",), late, ("cat",))
    assert caught.value.message == "sh ended with exit status 3: it broke"


async def test_who_left_the_others_without_a_word_is_named_also_where_he_ends_after_them(
    run: Run,
) -> None:
    with pytest.raises(Failed, match="sh ended before it had all"):
        await run.run(("yes",), shell("read one; exec <&-; sleep 0.3"), ("cat",))


@pytest.mark.parametrize(
    ("last", "said"),
    [("exit 0", "sh ended before it had all"),
     ("echo it broke >&2; exit 3", "sh ended with exit status 3: it broke")],
)  # fmt: skip
async def test_who_left_the_others_is_named_also_where_those_after_him_end_before_him(
    run: Run, last: str, said: str
) -> None:
    leaves = shell(f"read one; exec <&- >&-; sleep 0.3; {last}")
    with pytest.raises(Failed) as caught:
        await run.run(("yes",), leaves, ("cat",))
    assert caught.value.message == said


async def test_who_finds_nobody_who_reads_is_not_named_for_it(run: Run) -> None:
    """Though it is not ended by the signal, and fails with words of its own."""
    with pytest.raises(Failed, match="head ended before it had all"):
        await run.run(("env", "--ignore-signal=PIPE", "yes"), ("head", "-n", "1"))


async def test_what_socat_says_of_every_certificate_is_left_out(run: Run) -> None:
    chatter = "2026/11/27 01:02:03 socat[1] W Unknown subject type 6 (GEN_DNS=2, GEN_IPADD=7"
    with pytest.raises(Failed) as caught:
        await run.run(shell(f"echo '{chatter}' >&2; echo it broke >&2; exit 1"), ("cat",))
    assert caught.value.message == "sh ended with exit status 1: it broke"


async def test_a_program_that_sees_no_end_is_ended_soon_after_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_SEE_THE_END", 0.1)
    with pytest.raises(Failed, match="exit status 1"):
        await run.run(("sleep", "3600"), ("false",))
    assert run.all_ended()


async def test_a_reader_that_ends_before_its_writer_is_a_failure_though_it_says_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_SEE_THE_END", 0.1)
    with pytest.raises(Failed, match="true ended before it had all"):
        await run.run(("sleep", "3600"), ("cat",), ("true",))
    assert run.all_ended()


async def test_a_program_that_is_not_installed_starts_none(run: Run) -> None:
    with pytest.raises(OperationFailed, match="is not installed"):
        await run.run(("yes",), ("no-such-program-here",))
    assert run.started == []


async def test_all_are_ended_when_it_takes_too_long_or_is_cancelled(run: Run) -> None:
    with pytest.raises(Failed, match="did not end within"):
        await run.run(("sleep", "3600"), ("cat",), timeout=0.2)
    task = asyncio.create_task(run.run(("sleep", "3600"), ("cat",)))
    async with asyncio.timeout(LIMIT):
        while len(run.started) < 4:  # noqa: ASYNC110 - told in another thread
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.all_ended()


async def test_none_goes_on_that_could_not_be_noted_down(run: Run) -> None:
    reading, writing = pipeline.pipe()

    def started(stage: Stage, which: Identity) -> None:
        run.started.append(which)
        if len(run.started) == 2:
            raise OSError("no room to note it down")

    stages = [run.stage("sleep", "1000") for _ in range(3)]
    with pytest.raises(OSError, match="no room to note"):
        await pipeline.run(stages, stdout=writing, timeout=LIMIT, started=started)
    assert len(run.started) == 2
    assert run.all_ended()
    assert os.read(reading, 1) == b"", "nobody has the other end any more"
    os.close(reading)
