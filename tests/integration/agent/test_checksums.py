"""Checksums of files, by whichever program is there."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from gantry.agent import exports
from gantry.host import command


@pytest.mark.parametrize("program", ["openssl", "sha256sum"])
async def test_each_program_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    found = shutil.which(program)
    assert found is not None
    alone = tmp_path / "bin"
    alone.mkdir()
    (alone / program).symlink_to(found)
    monkeypatch.setitem(command.ENVIRONMENT, "PATH", str(alone))
    # A backslash is what sha256sum escapes.
    for name in ("plain", "back\\slash"):
        path = tmp_path / name
        path.write_bytes(b"as it was" * 100_000)
        wanted = hashlib.sha256(path.read_bytes()).hexdigest()
        assert await exports.sha256(path, 30) == wanted
