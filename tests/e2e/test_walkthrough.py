"""The walkthrough of hooks works as it is printed."""

import re
import subprocess
from pathlib import Path

from tests.support.cluster import Cluster

PAGE = Path(__file__).parents[2] / "docs/hooks/walkthrough.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_can_be_typed(cluster: Cluster, tmp_path: Path) -> None:
    script = "set -eu\n" + "".join(BLOCK.findall(PAGE.read_text()))
    done = subprocess.run(
        ["/bin/sh"],
        input=script,
        env=cluster.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("denied, as it should be") == 2, said
    assert "still denied" in said
    assert "web9.gantry.test needs an owner" in said
    assert {row["state"] for row in cluster.rows("gnt-hook", "status")} == {"none"}
