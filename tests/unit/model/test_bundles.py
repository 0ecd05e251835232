"""What may be in a bundle, and that nothing else gets out of one."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.model import bundles
from gantry.model.bundles import BundleFile
from gantry.model.errors import Rejected

PATHS = st.from_regex(
    r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,10}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,10}){0,2}", fullmatch=True
)
FILES = st.builds(
    BundleFile, path=PATHS, mode=st.sampled_from(bundles.MODES), content=st.binary(max_size=200)
)


def file(path: str = "instance-add-pre.d/10-check", mode: int = 0o755) -> BundleFile:
    return BundleFile(path=path, mode=mode, content=b"#!/bin/sh\n")


@given(st.lists(FILES, min_size=1, max_size=10, unique_by=lambda one: one.path))
def test_what_is_packed_comes_out_again(files: list[BundleFile]) -> None:
    try:
        checked = bundles.check(files)
    except Rejected as error:
        assert "twice, or a file and a directory" in error.message
        return
    again = bundles.unpack(bundles.pack(checked))
    assert again == checked
    shuffled = bundles.entries(list(reversed(checked)))
    assert bundles.digest(shuffled) == bundles.digest(bundles.entries(again))


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", ".hidden", "a/.bundles/x",
        "a/b/c/d/e/f/g/h/i", "a\n", "a/b\x00", "a b", "ä", "a" * 201, "a/\u202eb", "-/..",
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Rejected):
        bundles.check([file(path)])
    packed = zlib.compress(msgspec.msgpack.encode((file(path),)))
    with pytest.raises(Rejected):
        bundles.unpack(packed)


@pytest.mark.parametrize("mode", [0o4755, 0o777, 0o666, 0o2644, 0, 0o170755])
def test_a_mode_that_is_not_normal_is_refused(mode: int) -> None:
    with pytest.raises(Rejected, match="mode"):
        bundles.check([file(mode=mode)])


@pytest.mark.parametrize(
    ("mode", "normal"),
    [(0o755, 0o755), (0o777, 0o755), (0o4711, 0o755), (0o664, 0o644), (0o600, 0o600),
     (0o400, 0o600), (0o700, 0o700), (0o500, 0o700), (0o010, 0o644)],
)  # fmt: skip
def test_modes_are_made_normal(mode: int, normal: int) -> None:
    assert bundles.normal_mode(mode) == normal


def test_a_file_twice_and_a_file_that_is_a_directory_are_refused() -> None:
    for paths in (["a", "a"], ["a", "a/b"], ["x/a/b", "x/a"]):
        with pytest.raises(Rejected, match="twice"):
            bundles.check([file(path) for path in paths])


def test_limits_are_kept_before_anything_is_unpacked() -> None:
    bomb = zlib.compress(b"\0" * (64 * 1024 * 1024), 9)
    assert len(bomb) < bundles.MAX_PACKED
    with pytest.raises(Rejected, match="too long when unpacked"):
        bundles.unpack(bomb)
    with pytest.raises(Rejected, match="more than"):
        bundles.unpack(b"x" * (bundles.MAX_PACKED + 1))
    with pytest.raises(Rejected, match="files are more than"):
        bundles.check([file(f"f{number}") for number in range(bundles.MAX_FILES + 1)])
    large = BundleFile(path="large", mode=0o644, content=b"\0" * (bundles.MAX_CONTENT + 1))
    with pytest.raises(Rejected, match="bytes are more than"):
        bundles.check([large])
    with pytest.raises(Rejected, match="without files"):
        bundles.check([])


@given(st.binary(max_size=300))
def test_bytes_that_are_no_bundle_are_refused(data: bytes) -> None:
    for packed in (data, zlib.compress(data)):
        with pytest.raises(Rejected):
            bundles.unpack(packed)


def test_a_bundle_that_was_cut_off_or_goes_on_is_refused() -> None:
    packed = bundles.pack(bundles.check([file()]))
    for wrong in (packed[:-1], packed + b"x"):
        with pytest.raises(Rejected, match="no bundle"):
            bundles.unpack(wrong)


def test_every_part_of_a_bundle_is_in_its_hash() -> None:
    first = bundles.entries([file()])
    for other in (
        file(path="instance-add-pre.d/11-check"),
        file(mode=0o644),
        BundleFile(path=file().path, mode=0o755, content=b"#!/bin/sh\n\n"),
    ):
        assert bundles.digest(bundles.entries([other])) != bundles.digest(first)
