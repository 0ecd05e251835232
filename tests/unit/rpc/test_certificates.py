"""Reading certificates with ``ssl`` alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.model.errors import Rejected
from gantry.model.identity import Identity, Role
from gantry.model.names import Uuid
from gantry.pki.authority import Authority
from gantry.rpc import certificates

CLUSTER = Uuid("11111111-2222-4333-8444-555555555555")


@pytest.mark.parametrize("now", [0.0, 1_800_000_000.0, 2_600_000_000.0, 4_000_000_000.0])
def test_the_end_of_a_certificate_is_read_in_both_forms_of_time(tmp_path: Path, now: float) -> None:
    # Times from 2050 on are written in another form (RFC 5280, 4.1.2.5).
    ca = Authority.create(CLUSTER, "cluster.example.com", now + 10_000)
    path = tmp_path / "node.pem"
    path.write_text(ca.issue_master(now + 10_000).certificate)
    assert certificates.expiry(path) == now + 10_000 + 5 * 365 * 86400


@pytest.mark.parametrize(
    "text", ["", "x", "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----"]
)
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "node.pem"
    path.write_text(text)
    with pytest.raises(Rejected, match=r"node\.pem"):
        certificates.expiry(path)


def test_unusable_files_say_how_to_get_new_ones(tmp_path: Path) -> None:
    missing = certificates.Files(
        ca=tmp_path / "ca.pem", certificate=tmp_path / "node.pem", key=tmp_path / "node.key"
    )
    with pytest.raises(Rejected, match="cannot be used") as caught:
        certificates.server_context(missing)
    assert "gantry join" in caught.value.hint


@pytest.mark.parametrize(
    ("peer", "who"),
    [
        (None, None),
        ({}, None),
        ({"subjectAltName": (("DNS", "master"),)}, None),
        ({"subjectAltName": (("URI", "https://x/master"),)}, None),
        ({"subjectAltName": (("URI", f"gantry://{CLUSTER}/king"),)}, None),
        ({"subjectAltName": (("URI", f"gantry://{CLUSTER}/node/../master"),)}, None),
        ({"subjectAltName": (("URI", f"gantry://{CLUSTER}/master/x/y"),)}, None),
        (
            {"subjectAltName": (("URI", f"gantry://{CLUSTER}/master"),)},
            Identity(CLUSTER, Role.MASTER),
        ),
        (
            {"subjectAltName": (("DNS", "a"), ("URI", f"gantry://{CLUSTER}/node/{CLUSTER}"))},
            Identity(CLUSTER, Role.NODE, CLUSTER),
        ),
    ],
)
def test_a_peer_is_who_its_uri_says(peer: dict[str, object] | None, who: Identity | None) -> None:
    assert certificates.identity(peer) == who


def test_an_end_is_told_as_a_date() -> None:
    assert certificates.in_words(0.0) == "1970-01-01 00:00:00 UTC"
    assert "expired at 1970" in certificates.expired("node x", 0.0).message
