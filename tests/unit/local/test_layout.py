"""Where things are, and directories that will not do."""

from pathlib import Path

import pytest

from gantry.local.description import LocalNode
from gantry.local.layout import Layout
from gantry.model.errors import OperationFailed, Rejected

NODE = LocalNode(number=2)


def test_a_short_path_will_do() -> None:
    Layout(Path("/tmp/gantry")).check()


def test_a_path_that_leaves_no_room_for_sockets_is_refused_early() -> None:
    with pytest.raises(Rejected, match="too long for a local cluster") as caught:
        Layout(Path("/tmp") / ("x" * 60)).check()
    assert "/tmp/gantry" in caught.value.hint


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\nb"])
def test_a_name_that_path_or_qemu_would_take_apart_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match="a colon, a comma or a line end"):
        Layout(Path("/tmp") / name).check()


def test_links_are_resolved_so_that_one_cluster_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert Layout(tmp_path / "link").directory == Layout(tmp_path / "real").directory
    assert Layout(tmp_path / "link").root(NODE) == tmp_path / "real" / "node2"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperationFailed, match=r"cannot make .*file"):
        Layout(tmp_path / "file" / "below").make()


def test_only_one_at_a_time_brings_a_cluster_up_or_down(tmp_path: Path) -> None:
    with (
        Layout(tmp_path).locked(),
        pytest.raises(Rejected, match="somebody else"),
        Layout(tmp_path).locked(),
    ):
        pass
    with Layout(tmp_path).locked():
        pass
