"""What a node says when it is asked for its OS definitions counts at once."""

from tests.fakes.clock import FakeClock

from gantry.model.live import NodeFacts, NodeLive, OsFacts
from gantry.model.names import Uuid
from gantry.supervision.states import States

NODE = Uuid("11111111-1111-4111-8111-111111111111")
NOOP = OsFacts(name="noop", path="/srv/ganeti/os/noop")
NEW = OsFacts(name="new", path="/srv/ganeti/os/new")


class Holder:
    def __init__(self) -> None:
        self.nodes: dict[Uuid, NodeLive] = {}
        self.changes = 0

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        self.nodes[node] = live
        self.changes += 1

    def forget(self, node: Uuid) -> None:
        del self.nodes[node]


def test_definitions_that_were_found_replace_those_that_were_known() -> None:
    holder = Holder()
    states = States(holder, FakeClock())
    states.hello(NODE, NodeFacts(memory_total=7, oses=(NOOP,)), ())
    states.oses(NODE, (NOOP, NEW))
    facts = holder.nodes[NODE].facts
    assert facts is not None
    assert facts.oses == (NOOP, NEW)
    assert facts.memory_total == 7


def test_the_same_definitions_change_nothing() -> None:
    holder = Holder()
    states = States(holder, FakeClock())
    states.hello(NODE, NodeFacts(oses=(NOOP,)), ())
    states.oses(NODE, (NOOP,))
    assert holder.changes == 1


def test_a_node_that_never_said_hello_stays_unknown() -> None:
    holder = Holder()
    States(holder, FakeClock()).oses(NODE, (NOOP,))
    assert holder.nodes == {}
