"""What scripts of every operation find in GANTRY_CONTEXT is as the published schema says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import fastjsonschema
import msgspec
import pytest
from tests.fakes.agents import Fault
from tests.faults.breaking import clean, is_effect, make
from tests.faults.situation import Situation
from tests.faults.situations import SITUATIONS
from tests.faults.test_every_effect import Once

from gantry.agent.hooks import run_below
from gantry.agent.ledger import Ledger
from gantry.hooks.context import VERSION
from gantry.main.bootstrap import Settings, init
from gantry.model.orders import HookDirectory, HooksRun

SCHEMA: Final = Path(__file__).parents[3] / "docs/hooks/context.schema.json"
DIRECTORY: Final = "instance-start-pre.d"
check: Any = fastjsonschema.compile(json.loads(SCHEMA.read_text()))


def script(root: Path, directory: str, text: str) -> None:
    path = root / "etc/ganeti/hooks" / directory / "10-script"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


async def read_by_a_script(root: Path, ledger: Ledger, order: HooksRun) -> dict[str, Any]:
    """Through the agent's code and a real script."""
    directories = (HookDirectory(name=DIRECTORY, version=1),)
    order = msgspec.structs.replace(order, directories=directories)
    [result] = (await run_below(root, order, ledger)).results
    found: dict[str, Any] = json.loads(result.output)
    assert (found["run"], found["attempt"]) == (order.run_id, order.attempt)
    return found


async def orders_of(situation: Situation) -> AsyncIterator[HooksRun]:
    """Of all phases: as it goes well, and where its last effect fails."""
    effects = [name for name in (await clean(situation)).orders if is_effect(name)]
    for wrong in (None, *effects[-1:]):
        cluster = await make(situation)
        if wrong is not None:
            cluster.agents.fault = Once(wrong, Fault.FAILS)
        await cluster.run(situation.op, secrets=situation.secrets)
        await cluster.engine.settle()
        for node in cluster.world.nodes.values():
            for order in node.hook_runs:
                yield order
        await cluster.close()


async def test_the_context_of_every_operation_is_as_the_schema_says(tmp_path: Path) -> None:
    script(tmp_path, DIRECTORY, 'cat "$GANTRY_CONTEXT"')
    phases, kinds = set(), set()
    with contextlib.closing(Ledger(tmp_path, "node1")) as ledger:
        for situation in SITUATIONS:
            seen = set()
            async for order in orders_of(situation):
                name = order.directories[0].name
                if name not in seen:
                    seen.add(name)
                    found = await read_by_a_script(tmp_path, ledger, order)
                    check(found)
                    phases.add(found["phase"])
                    kinds.add((found["object"] or {}).get("type"))
    assert phases == {"pre", "post", "fail"}
    assert {"CLUSTER", "NODE", "INSTANCE"} <= kinds


async def test_the_context_at_the_beginning_of_a_cluster(tmp_path: Path) -> None:
    for phase in ("pre", "post"):
        script(tmp_path, f"cluster-init-{phase}.d", f'cp "$GANTRY_CONTEXT" "$GANTRY_ROOT/{phase}"')
    settings = Settings(
        cluster_name="cluster.example.com", node_name="node1.example.com", primary_ip="127.0.0.1"
    )
    await init(tmp_path, settings, lambda text: None)
    for phase in ("pre", "post"):
        found = json.loads((tmp_path / phase).read_text())
        check(found)
        assert (found["phase"], found["job"]["id"], found["object"]["before"]) == (phase, 0, None)
        assert found["object"]["after"]["name"] == "cluster.example.com"


def test_the_schema_is_of_the_version_that_is_sent() -> None:
    assert json.loads(SCHEMA.read_text())["properties"]["version"] == {"const": VERSION}


@pytest.mark.parametrize(
    "wrong", [{}, {"version": 2}, {"object": {}}, {"phase": "PRE"}, {"more": 1}, {"failure": 1}]
)
async def test_the_schema_refuses_what_is_not_meant(tmp_path: Path, wrong: dict[str, Any]) -> None:
    script(tmp_path, DIRECTORY, 'cat "$GANTRY_CONTEXT"')
    [situation] = [one for one in SITUATIONS if one.name == "start"]
    with contextlib.closing(Ledger(tmp_path, "node1")) as ledger:
        async for order in orders_of(situation):
            found = await read_by_a_script(tmp_path, ledger, order)
            break
    changed = {**found, **wrong} if wrong else {}
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check(changed)
