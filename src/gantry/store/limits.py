"""The checks that every driver makes before it touches anything; no state here."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.ports.store import (
    MAX_KEY_BYTES,
    MAX_OPERATIONS,
    MAX_TRANSACTION_BYTES,
    MAX_VALUE_BYTES,
    Compare,
    LimitExceeded,
    Operation,
    Put,
)


def check_transaction(compare: Sequence[Compare], ops: Sequence[Operation]) -> None:
    """Raise LimitExceeded unless every driver would take this transaction."""
    if len(compare) > MAX_OPERATIONS or len(ops) > MAX_OPERATIONS:
        raise LimitExceeded(
            f"a transaction of {len(ops)} operations and {len(compare)} compares;"
            f" the store takes {MAX_OPERATIONS} of each",
            "split it",
        )
    for comparison in compare:
        check_key(comparison.key)
    seen: set[str] = set()
    total = 0
    for operation in ops:
        check_key(operation.key)
        if operation.key in seen:
            raise LimitExceeded(f"the key {operation.key} appears twice in one transaction")
        seen.add(operation.key)
        total += len(operation.key) + _value_bytes(operation)
    if total > MAX_TRANSACTION_BYTES:
        raise LimitExceeded(
            f"a transaction of {total} bytes; the store takes {MAX_TRANSACTION_BYTES}", "split it"
        )


def check_key(key: str) -> None:
    """Raise LimitExceeded unless ``key`` is 1 to 1,024 printable ASCII characters, no space."""
    if 0 < len(key) <= MAX_KEY_BYTES and key.isascii() and key.isprintable() and " " not in key:
        return
    raise LimitExceeded(
        f"{key[:80]!r} is no key: 1 to {MAX_KEY_BYTES} printable ASCII characters without space"
    )


def _value_bytes(operation: Operation) -> int:
    if not isinstance(operation, Put):
        return 0
    if len(operation.value) > MAX_VALUE_BYTES:
        raise LimitExceeded(
            f"a value of {len(operation.value)} bytes for {operation.key};"
            f" the store takes {MAX_VALUE_BYTES}"
        )
    return len(operation.value)
