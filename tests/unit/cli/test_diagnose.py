"""What ``gnt-os diagnose`` says of one definition."""

from __future__ import annotations

from typing import Any

from gantry.cli.os import diagnose


def _entry(path: str, problem: str = "") -> dict[str, Any]:
    return {"path": path, "valid": not problem, "problem": problem}


def test_what_hides_what_is_said() -> None:
    ours, theirs, old = "/srv/ganeti/os/noop", "/usr/share/ganeti/os/noop", "/usr/lib/noop"
    said = diagnose.text(
        {
            "name": "noop",
            "valid": True,
            "hidden": False,
            "blacklisted": False,
            "differing": {},
            "problems": {},
            "node_status": {
                "node1": [_entry(ours), _entry(theirs), _entry(old, "no create")],
                "node2": [_entry(ours)],
                "node3": [],
            },
        }
    )
    first, _, rest = said.partition(theirs)
    assert "hidden" not in first
    assert f"problem: hidden by {ours}" in rest
    assert f"problem: no create; hidden by {ours}" in rest
    assert said.count("hidden by") == 2
