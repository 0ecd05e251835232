"""``docs/many-machines.md``, typed block by block on three machines that share only a wire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.cluster import eventually
from tests.support.namespaces import machines
from tests.support.page import Block, Typist, blocks

pytestmark = [pytest.mark.namespaces, pytest.mark.root]
PAGE = Path(__file__).resolve().parents[2] / "docs/many-machines.md"
UNITS = ("etcd", "gantry-agent", "gantry-master")
OFF, ON = ", after node2 was switched off", ", after node2 was switched on again"
LOST = ", after node2 was lost for good"


@contextmanager
def typists() -> Iterator[dict[str, Typist]]:
    with machines(3) as made:
        found = {f"node{machine.number}": Typist(machine) for machine in made}
        try:
            yield found
        finally:
            for one in found.values():
                one.switch_off()


def master(typist: Typist) -> str:
    return typist.machine.run("gnt-cluster", "getmaster").stdout.strip()


def typed_on(block: Block) -> list[str]:
    """The machines that a block is typed on, in their order."""
    return re.findall(r"node[123]", block.where.partition(",")[0])


def typed(typist: Typist, block: Block) -> None:
    """Members of etcd that have just been started need a moment."""
    if "endpoint health" in block.text:
        eventually("etcd is healthy", lambda: typist.type(block).status == 0)
        return
    done = typist.type(block)
    assert done.status == 0, f"on {block.where}:\n{block.text}\n{done.said}"


def test_the_page_leads_to_a_cluster_that_survives_a_machine() -> None:
    page = list(blocks(PAGE))
    assert len(page) > 8
    with typists() as nodes:
        for block in page:
            first, *others = typed_on(block)
            _prepare(block, nodes, nodes[first])
            typed(nodes[first], block)
            for other in others:
                typed(nodes[other], block)


def _prepare(block: Block, nodes: dict[str, Typist], typist: Typist) -> None:
    """What the page says that happens between two blocks."""
    if block.where.endswith(OFF):
        assert master(typist) == "node2.example.com"
        nodes["node2"].switch_off()
        eventually("another one is the master", lambda: _another(typist))
    if block.where.endswith(ON):
        nodes["node2"].switch_on(*UNITS)
        eventually("its guest runs again", lambda: _shown(typist, "running"))
    if block.where.endswith(LOST):
        nodes["node2"].made_anew()
        eventually("it is missed", lambda: _shown(typist, "ERROR_nodedown"))


def _another(typist: Typist) -> bool:
    listed = typist.machine.run("gnt-node", "list")
    return listed.status == 0 and master(typist) != "node2.example.com"


def _shown(typist: Typist, status: str) -> bool:
    done = typist.machine.run("gnt-instance", "list", "-o", "status", "--json")
    return done.status == 0 and json.loads(done.stdout) == [{"status": status}]
