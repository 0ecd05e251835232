"""What status and env print."""

import os
import subprocess
from pathlib import Path

from gantry.local import description
from gantry.local.description import Description, LocalNode
from gantry.local.status import NodeStatus, Status, environment, table


def _node(number: int, agent: int | None, guests: list[str] | None) -> NodeStatus:
    return NodeStatus(
        name=f"node{number}.gantry.test",
        root=f"/d/node{number}",
        primary_ip=f"127.7.9.{number}",
        secondary_ip=f"127.7.9.10{number}",
        agent_pid=agent,
        master=number == 1,
        master_pid=200 if number == 1 else None,
        guests=guests,
    )


def test_the_table_shows_every_node_with_what_runs_there() -> None:
    nodes = [_node(1, 100, ["web1", "web2"]), _node(2, None, [])]
    text = table(Status(cluster="c", directory="/d", up=False, nodes=nodes))
    assert text.splitlines() == [
        "c in /d: not all up (the nodes share this machine's memory)",
        "Node               Address    Agent  Master  Guests",
        "node1.gantry.test  127.7.9.1  100    200     web1, web2",
        "node2.gantry.test  127.7.9.2  down   down    -",
    ]


def test_simulated_nodes_are_shown_by_their_processes() -> None:
    def simulated(number: int, pid: int | None, guests: list[str] | None) -> NodeStatus:
        return NodeStatus(
            name=f"sim{number}.gantry.test",
            simulated=True,
            root=f"/d/sim{number}",
            primary_ip=f"127.8.1.{number}",
            secondary_ip=f"127.8.1.{number}",
            agent_pid=pid,
            master=False,
            master_pid=None,
            guests=guests,
        )

    nodes = [_node(1, 100, []), simulated(1, 300, ["web1"]), simulated(2, 300, ["web2"])]
    nodes.append(simulated(51, None, None))
    text = table(Status(cluster="c", directory="/d", up=False, nodes=nodes))
    assert [" ".join(line.split()) for line in text.splitlines()[3:]] == [
        "2 simulated: sim1.gantry.test … sim2.gantry.test 127.8.1.1 300 - 2 up",
        "sim51.gantry.test 127.8.1.51 down - ?",
    ]


def test_guests_that_nobody_can_tell_are_shown_as_unknown() -> None:
    text = table(Status(cluster="c", directory="/d", up=True, nodes=[_node(1, 100, None)]))
    assert text.splitlines()[-1].endswith("?")


def test_a_shell_can_evaluate_the_environment_of_any_directory(tmp_path: Path) -> None:
    place = tmp_path / "it's a $HOME"
    place.mkdir()
    about = Description(block="127.7.9", nodes=(LocalNode(number=1, member=True),))
    description.save(place, about)
    script = environment(place) + 'printf "%s\\n%s\\n" "$PATH" "$GANTRY_ROOT"\n'
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": os.devnull},
    )
    assert done.stdout.splitlines() == [f"{place}/node1/bin:/usr/bin:/bin", f"{place}/node1"]
