"""What a webhook may be, and which events it wants."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.model import webhooks
from gantry.model.errors import Rejected


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "ftp://example.com/", "file:///etc/passwd", "https://", "https:///x",
        "https://user:word@example.com/", "https://example.com/#x", "https://example.com/a b",
        "https://example.com/\n", "https://exämple.com/", "https://[::1/", "https://h:99999/",
        "https://h:0/", "https://example.com/" + "x" * 2000,
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        webhooks.url(text)
    if len(text) > 30:
        assert text not in caught.value.message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.com/services/T00/B00/secret", "https://example.com/…"),
        ("http://127.0.0.1:8080/?token=x", "http://127.0.0.1:8080/…"),
        ("https://[2001:db8::1]:444/x", "https://[2001:db8::1]:444/…"),
    ],
)
def test_an_address_is_taken_and_shown_without_what_may_be_a_secret(text: str, shown: str) -> None:
    assert webhooks.url(text) == text
    assert webhooks.shown(text) == shown


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 15, "x" * 1025, "with a blank in it", "ä" * 20]
)
def test_a_secret_that_is_too_weak_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        webhooks.secret(text)
    assert not text or text not in caught.value.message
    assert webhooks.secret("x" * 16) == "x" * 16


@pytest.mark.parametrize(
    "one", ["", "what", "job:", "job:a b", "JOB", "job:x:y", "hooks:" + "x" * 41]
)
def test_a_choice_of_no_event_is_refused(one: str) -> None:
    with pytest.raises(Rejected, match="chooses no event"):
        webhooks.choice([one])


@pytest.mark.parametrize(
    ("chosen", "event", "wanted"),
    [
        ((), {"event": "job", "status": "error"}, True),
        (("job",), {"event": "job", "status": "error"}, True),
        (("job:error",), {"event": "job", "status": "error"}, True),
        (("job:error",), {"event": "job", "status": "success"}, False),
        (("job:error",), {"event": "job-archived"}, False),
        (("hooks:denied", "job:error"), {"event": "hooks", "state": "denied"}, True),
        (("instance:ERROR_*",), {"event": "instance", "status": "ERROR_nodedown"}, True),
        (("instance:ERROR_*",), {"event": "instance", "status": "running"}, False),
        (("node",), {"event": "node", "name": "x"}, True),
        (("node:x",), {"event": "node", "name": "x"}, False),
    ],
)
def test_events_are_chosen_by_name_and_state(
    chosen: tuple[str, ...], event: dict[str, Any], wanted: bool
) -> None:
    assert webhooks.choice(chosen) == chosen
    assert webhooks.wanted(chosen, event) is wanted
