"""What is read of ``gantry.json``, whoever wrote it."""

from __future__ import annotations

import pytest

from gantry.model import export_facts
from gantry.model.errors import Rejected
from gantry.model.export_facts import DumpFacts, Facts

BAD = ["..", "../x", "/etc/shadow", "a/b", ".hidden", "a\nb", "-x"]


@pytest.mark.parametrize(
    "dump",
    [
        *(DumpFacts(name=name, scripted=False) for name in ("", *BAD)),
        *(DumpFacts(name="disk0.2", scripted=False, below=name) for name in BAD),
    ],
)
def test_dumps_are_of_the_same_directory(dump: DumpFacts) -> None:
    with pytest.raises(Rejected, match="no name of a dump"):
        export_facts.decode(export_facts.encode(Facts(dumps=(dump,))))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"dumps": 7}', "[" * 100_000, '{"point": "x"}'])
def test_rubbish_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="cannot be understood"):
        export_facts.decode(text)


def test_what_an_earlier_version_wrote_is_a_first_point() -> None:
    found = export_facts.decode('{"version": 1, "dumps": [{"name": "disk0", "scripted": true}]}')
    assert (found.point, found.mark, found.incremental) == (1, "", False)


def test_points_are_told_by_their_files() -> None:
    files = ["config.ini", "2.config.ini", "10.config.ini", "02.config.ini", "x.config.ini",
             "3.gantry.json", "1.config.ini", "9" * 10 + ".config.ini"]  # fmt: skip
    assert export_facts.later_points(files, 1) == (2, 10)
    assert export_facts.later_points(files, 5) == (10,)
    assert export_facts.names(2, 2) == ("config.ini", "gantry.json")
    assert export_facts.names(3, 2) == ("3.config.ini", "3.gantry.json")
