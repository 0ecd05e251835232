"""Showing commands and what they say, with stub programs."""

from pathlib import Path

import pytest

from gantry.local.demo.stage import Stage
from gantry.model.errors import OperationFailed


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    def program(name: str, text: str) -> None:
        (tmp_path / name).write_text("#!/bin/sh\n" + text)
        (tmp_path / name).chmod(0o755)

    program("talks", "echo booting; echo web1 is up; cat > /dev/null\n")
    program("ends", "echo booting\n")
    program("silent", "cat > /dev/null\n")
    program("denied", "exit 1\n")
    program("works", 'echo "did $1"\n')
    return Stage({"PATH": f"{tmp_path}:/usr/bin:/bin"})


async def test_a_command_is_shown_before_what_it_says(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    await stage.run("works", "two words")
    assert capfd.readouterr().out == "$ works 'two words'\ndid two words\n"


async def test_a_command_that_fails_is_an_error_with_its_status(stage: Stage) -> None:
    with pytest.raises(OperationFailed, match="denied ended with exit status 1"):
        await stage.run("denied")


async def test_a_command_that_should_be_denied_and_works_is_an_error(stage: Stage) -> None:
    await stage.run("denied", fails=True)
    with pytest.raises(OperationFailed, match=r"it was to be denied"):
        await stage.run("works", "it", fails=True)


async def test_a_command_that_takes_too_long_is_ended(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "slow").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "slow").chmod(0o755)
    with pytest.raises(OperationFailed, match=r"slow took longer than 0\.2 s"):
        await stage.run("slow", timeout=0.2)


async def test_a_console_is_watched_until_the_guest_has_said_it(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    await stage.watch_console("talks", until="web1 is up", timeout=10)
    assert "booting\nweb1 is up" in capfd.readouterr().out


async def test_a_console_that_ends_too_early_is_an_error(stage: Stage) -> None:
    with pytest.raises(OperationFailed, match="ended before it said 'web1 is up'"):
        await stage.watch_console("ends", until="web1 is up", timeout=10)


async def test_a_guest_that_never_says_it_is_an_error(stage: Stage) -> None:
    with pytest.raises(OperationFailed, match=r"did not say .web1 is up. within 0\.2 s"):
        await stage.watch_console("silent", until="web1 is up", timeout=0.2)


async def test_a_program_that_is_missing_is_named(stage: Stage) -> None:
    with pytest.raises(OperationFailed, match="the program absent is not installed"):
        await stage.run("absent")
