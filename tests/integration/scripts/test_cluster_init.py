"""``gnt-cluster init`` runs scripts around the creation of the cluster, as each version says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gantry.agent.ledger import Ledger
from gantry.main.bootstrap import Settings, init
from gantry.main.store import STATE
from gantry.model.errors import HooksDenied
from gantry.model.hook_runs import Origin, ReadHookRuns

MARK = '#!/bin/sh\nif [ -e "$GANTRY_ROOT/var/lib/gantry/state.db" ]; then made=1; else made=0; fi\n'
TELL = 'echo "$GANETI_HOOKS_PHASE $GANETI_MASTER made=$made" >> "$GANTRY_ROOT/told"\n'


def settings(version: int) -> Settings:
    parameters: dict[str, Any] = {"hooks_version": version}
    return Settings(
        cluster_name="cluster.example.com",
        node_name="node1.example.com",
        primary_ip="127.0.0.1",
        parameters=parameters,
    )


def script(root: Path, directory: str, text: str) -> None:
    path = root / "etc/ganeti/hooks" / directory / "10-script"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (1, ["PRE node1.example.com made=0", "POST node1.example.com made=1"]),
        (2, ["post node1.example.com made=1"]),
    ],
)
async def test_scripts_run_around_the_creation_as_each_version_says(
    tmp_path: Path, version: int, told: list[str]
) -> None:
    for phase in ("pre", "post"):
        script(tmp_path, f"cluster-init-{phase}.d", MARK + TELL)
    await init(tmp_path, settings(version), lambda text: None)
    assert (tmp_path / "told").read_text().splitlines() == told
    runs = Ledger(tmp_path, "node1.example.com").page(ReadHookRuns()).runs
    assert [(one.origin, one.operation, one.object) for one in runs] == [
        (Origin.NO_JOB, "cluster-init", "cluster.example.com")
    ] * len(told)


async def test_a_denial_makes_no_cluster(tmp_path: Path) -> None:
    script(tmp_path, "cluster-init-pre.d", "#!/bin/sh\necho not here\nexit 1\n")
    with pytest.raises(HooksDenied, match="not here"):
        await init(tmp_path, settings(1), lambda text: None)
    assert not (tmp_path / STATE).exists()
    assert not (tmp_path / "etc/gantry").exists()


async def test_those_that_were_asked_hear_that_it_was_denied(tmp_path: Path) -> None:
    script(tmp_path, "cluster-init-pre.d", "#!/bin/sh\necho not here\nexit 1\n")
    fail = '#!/bin/sh\necho "$GANTRY_FAILURE: $GANTRY_FAILURE_MESSAGE" > "$GANTRY_ROOT/told"\n'
    script(tmp_path, "cluster-init-fail.d", fail)
    with pytest.raises(HooksDenied):
        await init(tmp_path, settings(1), lambda text: None)
    assert "denied: hooks execution failed:" in (tmp_path / "told").read_text()


async def test_those_that_were_asked_hear_that_it_failed(tmp_path: Path) -> None:
    script(tmp_path, "cluster-init-pre.d", "#!/bin/sh\nexit 0\n")
    fail = '#!/bin/sh\necho "$GANTRY_FAILURE" >> "$GANTRY_ROOT/told"\n'
    script(tmp_path, "cluster-init-fail.d", fail)
    (tmp_path / "var/lib/ganeti").parent.mkdir(parents=True)
    (tmp_path / "var/lib/ganeti").write_text("a file where a directory should be")
    with pytest.raises(OSError):
        await init(tmp_path, settings(1), lambda text: None)
    assert (tmp_path / "told").read_text() == "failed\n"
