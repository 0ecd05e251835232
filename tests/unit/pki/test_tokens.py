"""The text that lets a machine join."""

from __future__ import annotations

import pytest

from gantry.model.errors import Rejected
from gantry.pki import tokens
from gantry.pki.tokens import JoinToken

RANDOM = bytes(range(32))
TOKEN = tokens.create("192.0.2.1:5080", "ab" * 32, RANDOM)


def test_a_token_is_one_line_and_reads_back() -> None:
    text = tokens.encode(TOKEN)
    assert "\n" not in text
    assert tokens.decode(f"  {text}\n") == TOKEN


def test_only_a_hash_of_the_secret_is_kept() -> None:
    kept = tokens.secret_hash(TOKEN.secret)
    assert len(kept) == 64
    assert TOKEN.secret not in kept
    assert kept == tokens.secret_hash(TOKEN.secret)


def test_a_short_secret_is_no_secret() -> None:
    with pytest.raises(ValueError, match="32"):
        tokens.create("192.0.2.1:5080", "ab" * 32, b"short")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "gantry-join-1:",
        "gantry-join-1:%%%%",
        "gantry-join-1:bm90IGpzb24=",
        "gantry-join-2:" + tokens.encode(TOKEN).partition(":")[2],
        tokens.encode(TOKEN)[:-20],
        tokens.encode(JoinToken(address="192.0.2.1", fingerprint="ab" * 32, secret="x")),
        tokens.encode(JoinToken(address="h:1/../x", fingerprint="ab" * 32, secret="x")),
        tokens.encode(JoinToken(address="h:5080", fingerprint="ab", secret="x")),
        tokens.encode(
            JoinToken(address="h:5080", fingerprint="ab" * 32, secret="x", others=("h:1/x",))
        ),
    ],
)
def test_what_is_no_whole_token_is_refused_with_the_way_to_get_one(text: str) -> None:
    with pytest.raises(Rejected, match="joining token") as caught:
        tokens.decode(text)
    assert "gantry token" in caught.value.hint


def test_a_token_names_the_other_candidates_too() -> None:
    token = tokens.create("192.0.2.1:5080", "ab" * 32, RANDOM, ("192.0.2.2:5080", "[::1]:5080"))
    assert tokens.decode(tokens.encode(token)).addresses == (
        "192.0.2.1:5080",
        "192.0.2.2:5080",
        "[::1]:5080",
    )


@pytest.mark.parametrize("address", ["master.example.com:5080", "[2001:db8::1]:5080"])
def test_names_and_both_kinds_of_addresses_are_taken(address: str) -> None:
    token = tokens.create(address, "ab" * 32, RANDOM)
    assert tokens.decode(tokens.encode(token)).address == address
