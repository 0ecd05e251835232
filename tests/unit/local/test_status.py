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
        "node2.gantry.test  127.7.9.2  down   -       -",
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
