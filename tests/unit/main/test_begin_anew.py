"""A master that begins anew does not forget that it was told to end."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from gantry.main import master


class Replaced(Exception):
    """The process would be another one now."""


@pytest.fixture(autouse=True)
def _stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(ready: int | None = None) -> None:
        raise Replaced(ready)

    monkeypatch.setattr(master, "replace_process", replace)


async def test_a_signal_that_has_just_come_ends_it() -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, ended.set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(SystemExit) as caught:
            await master.begin_anew(ended)
        assert caught.value.code == 0
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


async def test_without_one_it_begins_anew() -> None:
    with pytest.raises(Replaced, match="7"):
        await master.begin_anew(asyncio.Event(), 7)
