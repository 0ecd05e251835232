"""The walkthroughs of hooks and of OS definitions work as they are printed."""

import re
import subprocess
from pathlib import Path

from tests.support.cluster import Cluster

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _typed(page: str, cluster: Cluster, place: Path) -> str:
    """All commands of a page, one after the other; what they said."""
    script = "set -eu\n" + "".join(BLOCK.findall((DOCS / page).read_text()))
    done = subprocess.run(
        ["/bin/sh"],
        input=script,
        env=cluster.environment(),
        cwd=place,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_every_command_of_the_page_can_be_typed(cluster: Cluster, tmp_path: Path) -> None:
    said = _typed("hooks/walkthrough.md", cluster, tmp_path)
    assert said.count("denied, as it should be") == 2, said
    assert "still denied" in said
    assert "web9.gantry.test needs an owner" in said
    assert {row["state"] for row in cluster.rows("gnt-hook", "status")} == {"none"}


def test_every_command_for_authors_of_definitions_can_be_typed(
    cluster: Cluster, tmp_path: Path
) -> None:
    said = _typed("os/walkthrough.md", cluster, tmp_path)
    assert "5 errors" in said, said
    assert "nothing to complain of" in said, said
    assert "refused, as it should be" in said, said
    assert "6 succeeded, 0 failed, 0 skipped" in said, said
    assert "one file is different" in said, said
    assert "hello: installed hi.gantry.test" in said, said
    assert {row["state"] for row in cluster.rows("gnt-os", "status", "hello")} == {"none"}
