"""Which files of a definition are read to be shown."""

from __future__ import annotations

import os
from pathlib import Path

from tests.integration.osdefs.definitions import write

from gantry.model.os_texts import MAX_TEXT
from gantry.osdefs.search import Finder
from gantry.osdefs.texts import read


def test_only_files_of_the_definition_that_everybody_may_read(tmp_path: Path) -> None:
    own = tmp_path / "srv/ganeti/os"
    files = {"note": "hello\n", "key": "secret\n", "big": "x" * (MAX_TEXT + 1)}
    path = write(own, files=files)
    (path / "binary").write_bytes(b"\0\1")
    (path / "latin").write_bytes(b"\xe9\n")
    os.mkfifo(path / "pipe")
    for file in ("note", "big", "binary", "latin"):
        (path / file).chmod(0o644)
    (path / "key").chmod(0o640)
    (tmp_path / "outside").write_text("outside\n")
    facts = Finder(tmp_path, ("/srv/ganeti/os",)).lookup("deb")
    assert facts is not None
    asked = ["note", "key", "big", "binary", "latin", "pipe", "nosuch", "../../../../outside"]
    found = {one.path: one for one in read(facts, asked).files}
    assert found.keys() == {"note", "key", "big", "binary", "latin", "pipe"}
    assert found["note"].text == "hello\n"
    assert {path: one.note for path, one in found.items() if one.text is None} == {
        "key": "not everybody on its node may read it",
        "big": "it is too large",
        "binary": "it is no text",
        "latin": "it is no text",
        "pipe": "it is no regular file",
    }
