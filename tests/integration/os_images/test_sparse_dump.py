"""A dump of a disk in very many pieces, which is read again with a bounded table."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).parents[3] / "os/busybox/parts/sparse_dump.py"
BLOCK = 4096


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("sparse_dump", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


sparse_dump = loaded()


@pytest.mark.parametrize("pieces", [3, 4, 5, 40])
def test_a_disk_of_more_pieces_than_are_taken_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(sparse_dump, "_MOST_EXTENTS", 5)
    disk, other, dump = (tmp_path / name for name in ("disk", "other", "dump"))
    size = 1 << 20
    for path in (disk, other):
        path.touch()
        os.truncate(path, size)
    with disk.open("r+b") as file:
        for number in range(pieces):
            file.seek(number * 4 * BLOCK)
            file.write(bytes([number + 1]) * BLOCK)
    with disk.open("rb") as source, dump.open("wb") as target:
        sparse_dump.Dump(source.fileno(), size).write(target.fileno())
    with other.open("r+b") as target:
        assert sparse_dump.load(io.BytesIO(dump.read_bytes()), target.fileno()) == size
    assert other.read_bytes() == disk.read_bytes()


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.integers(1, 1 << 20))), st.integers(1, 9))
def test_pieces_are_joined_and_none_is_lost(steps: list[tuple[int, int]], most: int) -> None:
    found, end = [], 0
    for hole, length in steps:
        found.append((end + hole, length))
        end += hole + length
    fewer = sparse_dump.fewer(found, most)
    assert len(fewer) <= most
    if len(found) <= most:
        assert fewer == found
    for start, length in found:
        assert any(first <= start and start + length <= first + all_ for first, all_ in fewer)
    ends = [start + length for start, length in fewer]
    assert all(stop < start for stop, (start, _) in zip(ends[:-1], fewer[1:], strict=True))
