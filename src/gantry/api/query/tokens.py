"""The words of a filter."""

from __future__ import annotations

import enum
import re
from typing import Any, Final

import msgspec

from gantry.api.query.patterns import Flags, pattern
from gantry.model.errors import Rejected

_LONGEST: Final = 8192
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>-?\d{1,18}(?:\.\d{1,18})?(?![\w.]))
    | (?P<operator>==|!=|<=|>=|=~|!~|=\*|!\*|=|<|>)
    | (?P<sign>[()?!&|])
    | (?P<name>[A-Za-z_][\w./:+-]*)
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_DELIMITERS: Final = "/#@|"


class TokenKind(enum.Enum):
    """What a word is."""

    TEXT = "text"
    NUMBER = "number"
    OPERATOR = "operator"
    SIGN = "sign"
    NAME = "name"
    PATTERN = "pattern"
    END = "end"


class Token(msgspec.Struct, frozen=True):
    """``start`` counts characters from 0; ``value`` is what text, number and pattern mean."""

    kind: TokenKind
    text: str
    start: int
    value: Any = None


def split(text: str) -> list[Token]:
    """The words, END last; Rejected where there is none."""
    if len(text) > _LONGEST:
        raise Rejected(f"the filter is longer than {_LONGEST} characters")
    tokens: list[Token] = []
    position = 0
    while text[position:].strip():
        after_match = bool(tokens) and tokens[-1].text in ("=~", "!~")
        token, position = (_pattern if after_match else _one)(text, position)
        tokens.append(token)
    tokens.append(Token(TokenKind.END, "", len(text)))
    return tokens


def _one(text: str, position: int) -> tuple[Token, int]:
    found = _TOKEN.match(text, position)
    if found is None or found.lastgroup is None:
        start = len(text) - len(text[position:].lstrip())
        raise Rejected(
            f"the filter makes no sense at character {start + 1}: {text[start : start + 20]!r}",
            "texts stand in quotes",
        )
    kind = TokenKind(found.lastgroup)
    word = found[found.lastgroup]
    value: Any = None
    if kind is TokenKind.TEXT:
        value = _ESCAPE.sub(r"\1", word[1:-1])
    elif kind is TokenKind.NUMBER:
        value = float(word) if "." in word else int(word)
    return Token(kind, word, found.start(found.lastgroup), value), found.end()


def _pattern(text: str, position: int) -> tuple[Token, int]:
    """``m/…/`` with flags, or a text in quotes, as a compiled pattern."""
    start = len(text) - len(text[position:].lstrip())
    if text[start : start + 1] in ('"', "'"):
        token, end = _one(text, position)
        return Token(TokenKind.PATTERN, token.text, start, pattern(token.value)), end
    delimiter = text[start + 1 : start + 2]
    if text[start] != "m" or delimiter not in _DELIMITERS or not delimiter:
        raise Rejected(
            f"the filter has no pattern at character {start + 1}", "write =~ m/…/, such as m/^web/"
        )
    end = start + 2
    while end < len(text) and text[end] != delimiter:
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise Rejected(f"the pattern at character {start + 1} has no closing {delimiter}")
    body = text[start + 2 : end].replace("\\" + delimiter, delimiter)
    end += 1
    flags = Flags()
    while text[end : end + 1] in ("i", "s") and text[end : end + 1]:
        flags = flags.having(text[end])
        end += 1
    return Token(TokenKind.PATTERN, text[start:end], start, pattern(body, flags)), end
