"""Another user's cluster: told in words, not by a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.local import description
from gantry.model.errors import Rejected


def test_a_directory_in_the_files_place_is_not_taken_for_a_cluster(tmp_path: Path) -> None:
    (tmp_path / description.FILE).mkdir()
    with pytest.raises(Rejected):
        description.load(tmp_path)
