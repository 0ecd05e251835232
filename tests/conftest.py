"""What holds for all tests."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

for _number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        # Whoever started the tests in the background ignores what the keyboard sends, and so
        # would every program that they start; some tests are about just that.
        default = signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL
        signal.signal(_number, default)

# How fast this machine is just now says nothing about what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

WAITING = ("namespaces", "e2e", "qemu")
"""Markers of tests that take long. Side by side, they begin: nobody is left alone with one."""
ROUNDS = ("tests/rounds/", "tests/redundancy/")
"""Tests that keep a whole machine busy; two of them at a time would be tests of the machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, action="append", help="rounds of faults to replay")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files side by side (``-n``), each in one piece, and only one with machines under faults."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # ships no types

    class Files(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "rounds" if nodeid.startswith(ROUNDS) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return Files(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        turns: dict[Path, int] = {}
        for item in items:
            turns[item.path] = min(_turn(item), turns.get(item.path, len(WAITING)))
        items.sort(key=lambda item: turns[item.path])


def _turn(item: pytest.Item) -> int:
    marks = {mark.name for mark in item.iter_markers()}
    if item.nodeid.startswith(ROUNDS):
        return -1
    return next((turn for turn, mark in enumerate(WAITING) if mark in marks), len(WAITING))
