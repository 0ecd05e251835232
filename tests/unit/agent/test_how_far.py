"""What is said of a transfer while it lasts."""

from __future__ import annotations

from pathlib import Path

from gantry.agent import how_far

MIB = 1024 * 1024


def test_says_bytes_rate_and_remaining_time() -> None:
    said = how_far.line(512 * MIB, 2048 * MIB, 10.0)
    assert said == "512 of 2048 MiB (25 %), 51.2 MiB/s, 30 s left"


def test_says_what_it_knows_where_the_size_is_unknown_or_was_wrong() -> None:
    assert how_far.line(3 * MIB, None, 3.0) == "3 MiB, 1.0 MiB/s"
    assert how_far.line(3 * MIB, 2 * MIB, 1.0) == "3 of 2 MiB (100 %), 3.0 MiB/s, 0 s left"
    assert how_far.line(0, 2 * MIB, 1.0) == "0 of 2 MiB (0 %), 0.0 MiB/s"


def test_reads_the_last_word_of_qemu_img(tmp_path: Path) -> None:
    said = tmp_path / "progress"
    assert how_far.percent(said, 1000) is None
    said.write_text("    (1.00/100%)\r    (50.50/100%)\r")
    assert how_far.percent(said, 1000) == 505
