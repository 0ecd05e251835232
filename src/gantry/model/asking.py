"""The bases of what a master asks of an agent: orders, which change something, and questions."""

from __future__ import annotations

import enum
from typing import ClassVar, Generic, TypeVar

import msgspec


class Nothing(msgspec.Struct, frozen=True):
    """The answer of an order that has nothing to say."""


class AfterDeath(enum.Enum):
    """What becomes of an order that was under way when its agent died, and is issued again."""

    DONE_AGAIN = "done again"
    """It is make-it-so, and nothing of it goes on by itself."""
    ENDED_AND_DONE_AGAIN = "its processes are ended, and it is done again"
    INTERRUPTED = "its processes are ended, and it is answered as interrupted"


A = TypeVar("A", bound=msgspec.Struct)


class Order(msgspec.Struct, Generic[A], frozen=True, kw_only=True, tag_field="order"):
    """Base of all orders; ``answer`` is the type of what comes back.

    ``patience`` are the seconds for which an agent that went away is asked again and again, and
    not just once more: where it costs more to give up than to wait. Where ``after_death`` speaks
    of processes, the agent notes down before they begin what they are known by.
    """

    answer: ClassVar[type[msgspec.Struct]] = Nothing
    patience: ClassVar[float] = 0.0
    after_death: ClassVar[AfterDeath] = AfterDeath.DONE_AGAIN


class Question(msgspec.Struct, Generic[A], frozen=True, kw_only=True, tag_field="question"):
    """Base of all questions: they change nothing and are not remembered."""

    answer: ClassVar[type[msgspec.Struct]] = Nothing
