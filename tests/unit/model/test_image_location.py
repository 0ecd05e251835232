"""Where images are, and where a server may send who asks it for one."""

from __future__ import annotations

import pytest

from gantry.model.errors import Rejected
from gantry.model.image_location import Origin, largest, origin, redirected

HERE = "https://images.example.com/web"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://a.example.com/x", Origin("http", "a.example.com", 80)),
        ("https://A.example.com", Origin("https", "a.example.com", 443)),
        ("https://me:p@ss@a.example.com:8443?x", Origin("https", "a.example.com", 8443)),
        ("http://[::1]:81/", Origin("http", "::1", 81)),
        # What is behind a question mark is no server.
        ("http://a.example.com?@b.example.com/x", Origin("http", "a.example.com", 80)),
        ("http://a.example.com#@b.example.com/x", Origin("http", "a.example.com", 80)),
        ("http://a.example.com\\@b.example.com/x", Origin("http", "b.example.com", 80)),
        ("http://a.example.com\\.b.example.com/x", None),
        ("http://ex\u00e4mple.com/", None),
        ("http://a.example.com:123456/", None),
        ("ftp://a.example.com/x", None),
        ("file:///etc/passwd", None),
        ("/srv/image", None),
    ],
)
def test_who_answers_at_a_url(url: str, found: Origin | None) -> None:
    assert origin(url) == found


@pytest.mark.parametrize(
    ("url", "target", "asked"),
    [
        (HERE, f"{HERE}2", f"{HERE}2"),
        ("https://me:pw@a.com/1", "https://a.com/2", "https://me:pw@a.com/2"),
        # As curl tells a redirect without a server in it.
        ("https://me:pw@a.com/1", "https://me:pw@a.com/2", "https://me:pw@a.com/2"),
        ("https://me:pw@a.com/1", "https://b.com/2", "https://b.com/2"),
        ("https://me:pw@a.com/1", "https://a.com:444/2", "https://a.com:444/2"),
        ("http://me:pw@a.com/1", "https://a.com/2", "https://a.com/2"),
        ("http://a.com/1", "http://b.com/2?x=//me@c.com", "http://b.com/2?x=//me@c.com"),
    ],
)
def test_where_a_redirect_leads(url: str, target: str, asked: str) -> None:
    assert redirected(url, target) == asked


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://images.example.com/web", "which is not encrypted"),
        ("http://b.com/", "which is not encrypted"),
        ("ftp://b.com/", "it redirects to 'ftp://b.com/'"),
        ("file:///etc/passwd", "it redirects to 'file:///etc/passwd'"),
        ("https://me:pw@b.com/x", "it redirects to 'https://b.com/x'"),
        ("https://b.com\\@a.com/", "it redirects to"),
        ("https://b.com/a b", "it redirects to"),
        ("https:", "it redirects to"),
    ],
)
def test_a_redirect_that_is_not_followed(target: str, why: str) -> None:
    with pytest.raises(Rejected, match=why) as caught:
        redirected(HERE, target)
    assert "pw" not in caught.value.message
    assert caught.value.hint


def test_an_image_for_a_disk_has_bounds() -> None:
    """A qcow2 file is larger than what is in it where it has no holes."""
    assert largest(0) == 16 << 20
    assert largest(1024) == (1024 + 64 + 16) << 20
