"""A measured figure beside its target and a reference run, and how they are shown.

The reference does the least that could be done in the figure's place, on the same machine at
the same time: a machine that is busy shows in both. No measuring of anything in particular.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

HEAD = ("what", "target", "measured", "best run", "met", "reference", "remark")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table; ``target`` is the most (or, with ``at_least``, the least) allowed."""

    what: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    best: float | None = None
    """The best of the runs, where ``value`` is their median."""
    reference: str = ""
    """What the reference run was, and what it took."""
    remark: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    @property
    def cells(self) -> list[str]:
        """The row, as text."""
        sign = "≥" if self.at_least else "≤"
        target = "" if self.target is None else f"{sign} {number(self.target)} {self.unit}"
        verdict = {True: "yes", False: "**no**", None: ""}[self.met]
        best = "" if self.best is None else number(self.best)
        value = f"{number(self.value)} {self.unit}"
        return [self.what, target, value, best, verdict, self.reference, self.remark]


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def table(figures: Sequence[Figure]) -> str:
    """A table in Markdown."""
    return lines([HEAD, ["---"] * len(HEAD), *(figure.cells for figure in figures)])


def lines(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as Markdown has them."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """The median and the least."""
    return statistics.median(values), min(values)


def command(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Milliseconds of a whole process; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        list(argv), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stdout.decode()
    return took * 1000


def say(text: str) -> None:
    """How far it is, for whoever waits; the table is on the standard output."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def in_turn(runs: int, *works: Callable[[], float]) -> list[list[float]]:
    """Results of each, run one after the other so that noise meets all; the first do not count."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(runs + 1):
        for results, work in zip(taken, works, strict=True):
            results.append(work())
    return [results[1:] for results in taken]


def run(measure: Callable[[int], list[Figure]], about: str | None, runs: int) -> None:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=runs, metavar="N")
    print(table(measure(parser.parse_args().runs)))
