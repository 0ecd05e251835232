"""Regular expressions of users, with a limit on what they can cost.

Python's ``re`` may take for ever over a pattern such as ``(a*)*``, and the whole master with
it. So the parts of a pattern are looked at first: repeats that hold anything but fixed
sequences are refused, and the work that a pattern can cause over a text is bounded.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Final

import msgspec

from gantry.model.errors import Rejected

_LONGEST: Final = 500
_MOST_STEPS: Final = 20_000_000
_UNBOUNDED: Final = 1000
_SINGLE: Final = ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT")
_REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


class Flags(msgspec.Struct, frozen=True):
    """Letters after the pattern: ``i`` takes no notice of case, ``s`` lets . fit line ends."""

    value: int = 0

    def having(self, letter: str) -> Flags:
        """With one more."""
        return Flags(self.value | (re.IGNORECASE if letter == "i" else re.DOTALL))


class Pattern(msgspec.Struct, frozen=True):
    """A pattern that can be searched for in texts."""

    compiled: re.Pattern[str]
    bounded: int
    """The product of all bounded choices."""
    repeats: int
    """How many repeats have no bound."""

    def found_in(self, text: str) -> bool:
        """Whether any part of ``text`` fits; Rejected where finding out could take too long."""
        if self.bounded * (len(text) + 1) ** (self.repeats + 1) > _MOST_STEPS:
            raise Rejected(
                f"the pattern {self.compiled.pattern!r} has too many repeats for a text of "
                f"{len(text)} characters",
                "use fewer * and +",
            )
        return self.compiled.search(text) is not None


def pattern(text: str, flags: Flags = Flags()) -> Pattern:  # noqa: B008 - it is frozen
    """The pattern, or Rejected."""
    if len(text) > _LONGEST:
        raise Rejected(f"the pattern is longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(text, flags.value)
            parts = _parsed(text, flags.value)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise Rejected(f"{text!r} is not a pattern: {error}") from None
    bounded, repeats = _cost(parts, text, inside=False)
    return Pattern(compiled, bounded, repeats)


def _parsed(text: str, flags: int) -> Any:
    from re import _parser  # type: ignore[attr-defined]  # what re.compile itself calls

    return _parser.parse(text, flags)


def _cost(parts: Any, text: str, *, inside: bool) -> tuple[int, int]:
    """(product of bounded choices, number of unbounded repeats)."""
    bounded, repeats = 1, 0
    for operator, argument in parts:
        name = str(operator)
        if name in _SINGLE:
            continue
        if name == "SUBPATTERN":
            more = _cost(argument[-1], text, inside=inside)
        elif inside:
            raise _too_rich(text, "only plain sequences may be repeated")
        elif name in _REPEATS:
            _cost(argument[2], text, inside=True)
            least, most = argument[0], argument[1]
            more = (1, 1) if most - least > _UNBOUNDED else (int(most - least) + 1, 0)
        elif name == "BRANCH":
            costs = [_cost(branch, text, inside=False) for branch in argument[1]]
            more = (sum(cost[0] for cost in costs), max(cost[1] for cost in costs))
        else:
            raise _too_rich(text, "looking around and back is not possible here")
        bounded, repeats = bounded * more[0], repeats + more[1]
    return bounded, repeats


def _too_rich(text: str, why: str) -> Rejected:
    return Rejected(f"the pattern {text!r} could take for ever: {why}", "use a simpler one")
