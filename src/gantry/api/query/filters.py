"""Filters as the commands' ``-F`` takes them: parsed by hand, then run over objects.

    or := and { "or" and };  and := not { "and" not };  not := "not" not | "(" or ")" | condition
    condition := field operator value | value ["not"] "in" field | ["?"] field
    operators: == = != < <= > >= =~ m/…/ !~ m/…/ =* "glob" !* "glob"

A value is a number, a text in quotes, True or False. Sizes may be written ``"4G"``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gantry.api.query import comparing
from gantry.api.query.fields import Field, Fields
from gantry.api.query.tokens import Token, TokenKind, split
from gantry.api.query.view import View
from gantry.model.errors import Rejected

_DEEPEST: Final = 50
_BUDGET: Final = 1.0
"""Seconds that one filter may take: nothing else happens in the master meanwhile."""

Test = Callable[[View, Any], bool]


class Condition(msgspec.Struct, frozen=True):
    """A filter that can be run; ``fields`` are those that it looks at."""

    test: Test
    fields: frozenset[str]

    def choose(self, view: View, objects: Sequence[Any]) -> list[Any]:
        """Those that fit; Rejected where it takes too long."""
        end = time.monotonic() + _BUDGET
        found = []
        for one in objects:
            if self.test(view, one):
                found.append(one)
            if time.monotonic() > end:
                raise Rejected("the filter takes too long", "use a simpler pattern")
        return found


def compiled(text: str, fields: Fields[View, Any]) -> Condition:
    """The filter in ``text``; Rejected says where it does not make sense."""
    parser = _Parser(split(text), fields)
    test = parser.whole()
    return Condition(test, frozenset(parser.seen))


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, tokens: Sequence[Token], fields: Fields[View, Any]) -> None:
        self._tokens = tokens
        self._fields = fields
        self._position = 0
        self._depth = 0
        self.seen: set[str] = set()

    def whole(self) -> Test:
        """All of it."""
        test = self._either()
        if self._next.kind is not TokenKind.END:
            raise self._unexpected("and, or, or the end")
        return test

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _take(self) -> Token:
        token = self._next
        self._position += token.kind is not TokenKind.END
        return token

    def _word(self, *words: str) -> bool:
        """Whether these words come next; then they are taken."""
        ahead = self._tokens[self._position : self._position + len(words)]
        if [token.text.lower() for token in ahead if token.kind is TokenKind.NAME] != list(words):
            return False
        self._position += len(words)
        return True

    def _sign(self, text: str) -> bool:
        if self._next.kind is TokenKind.SIGN and self._next.text == text:
            self._position += 1
            return True
        return False

    def _either(self) -> Test:
        tests = [self._both()]
        while self._word("or") or self._sign("|"):
            tests.append(self._both())
        if len(tests) == 1:
            return tests[0]
        return lambda view, one: any(test(view, one) for test in tests)

    def _both(self) -> Test:
        tests = [self._negated()]
        while self._word("and") or self._sign("&"):
            tests.append(self._negated())
        if len(tests) == 1:
            return tests[0]
        return lambda view, one: all(test(view, one) for test in tests)

    def _negated(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Rejected(f"the filter is nested more than {_DEEPEST} deep")
        try:
            if self._word("not") or self._sign("!"):
                test = self._negated()
                return lambda view, one: not test(view, one)
            if self._sign("("):
                inner = self._either()
                if not self._sign(")"):
                    raise self._unexpected("a closing )")
                return inner
            return self._condition()
        finally:
            self._depth -= 1

    def _condition(self) -> Test:
        if self._sign("?"):
            return _true(self._field())
        if self._next.kind in (TokenKind.TEXT, TokenKind.NUMBER) or self._is_truth():
            return self._contained()
        field = self._field()
        if self._next.kind is not TokenKind.OPERATOR:
            return _true(field)
        operator = self._take().text
        return comparing.test(field, operator, self._value(operator))

    def _contained(self) -> Test:
        value = self._value("in")
        negative = self._word("not", "in")
        if not negative and not self._word("in"):
            raise self._unexpected("in, for a value comes before it")
        return comparing.test(self._field(), "!in" if negative else "in", value)

    def _is_truth(self) -> bool:
        return self._next.kind is TokenKind.NAME and self._next.text in ("True", "False")

    def _field(self) -> Field[View, Any]:
        if self._next.kind is not TokenKind.NAME:
            raise self._unexpected("the name of a field")
        field = self._fields.find(self._take().text)
        self.seen.add(field.name)
        return field

    def _value(self, operator: str) -> Any:
        wants_pattern = operator in ("=~", "!~")
        token = self._next
        if wants_pattern and token.kind in (TokenKind.PATTERN, TokenKind.TEXT):
            return self._take().value
        if not wants_pattern and token.kind in (TokenKind.TEXT, TokenKind.NUMBER):
            return self._take().value
        if not wants_pattern and self._is_truth():
            return self._take().text == "True"
        raise self._unexpected(
            "a pattern, as m/…/" if wants_pattern else "a number, or text in quotes"
        )

    def _unexpected(self, wanted: str) -> Rejected:
        token = self._next
        where = "ends there" if token.kind is TokenKind.END else f"has {token.text!r} there"
        return Rejected(
            f"the filter makes no sense at character {token.start + 1}: "
            f"{wanted} should follow, and it {where}",
            """such as: status == "running" and (be/maxmem > 1024 or "prod" in tags)""",
        )


def _true(field: Field[View, Any]) -> Test:
    get = field.get
    return lambda view, one: comparing.truth(get(view, one))
