"""Nothing grows in half an hour of parallel work; ``SOAK_MINUTES`` makes it longer or shorter."""

import os

import msgspec
import pytest
from tests.long.soak import HOOKS, Sample, growths, soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))


@pytest.mark.long
@pytest.mark.timeout(int(MINUTES * 60) + 1800)
def test_nothing_grows_in_a_long_time_of_parallel_work() -> None:
    samples, outcome = soak(MINUTES, 20, 12, print)
    assert not outcome.faults
    assert outcome.statuses.get("success", 0) > outcome.jobs / 4, "most of it was really done"
    assert growths(samples) == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_is_left_behind_by_every_operation_is_found() -> None:
    leaking = {"instance-add-pre.d/20-leaks": 'touch "$GANETI_DATA_DIR/left.$$"'}
    samples, outcome = soak(2, 2, 4, print, {**HOOKS, **leaking})
    assert not outcome.faults
    assert any(found.startswith("files: from ") for found in growths(samples))


def _sample(**changes: object) -> Sample:
    quiet = Sample(
        jobs=5000,
        memory={"master": 100.0},
        descriptors={"master": 50},
        sockets={"master": 100},
        threads={"master": 8},
        processes=4,
        files=100,
        journal=0,
        keys=40,
        effects=0,
    )
    return msgspec.structs.replace(quiet, **changes)


def test_what_stays_as_it_is_does_not_grow() -> None:
    assert growths([_sample(memory={"master": 60.0}), *[_sample()] * 8]) == []


@pytest.mark.parametrize(
    ("late", "what"),
    [
        ({"memory": {"master": 106.0}}, "MiB of master"),
        ({"descriptors": {"master": 59}}, "descriptors of master"),
        ({"sockets": {"master": 140}}, "sockets of master"),
        ({"threads": {"master": 13}}, "threads of master"),
        ({"processes": 5}, "processes"),
        ({"files": 105}, "files"),
        ({"journal": 1}, "journals"),
        ({"keys": 41}, "keys in the store"),
        ({"effects": 1}, "effects"),
    ],
)
def test_what_grows_is_found(late: dict[str, object], what: str) -> None:
    [found] = growths([*[_sample()] * 6, *[_sample(**late)] * 3])
    assert what in found
