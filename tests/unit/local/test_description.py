"""The file that says what a local cluster is."""

from pathlib import Path

import pytest

from gantry.local import description
from gantry.local.description import Description, LocalNode
from gantry.model.errors import OperationFailed, Rejected


def _two_nodes() -> Description:
    nodes = (LocalNode(number=1, member=True), LocalNode(number=2))
    return Description(block="127.7.9", nodes=nodes)


def test_what_was_saved_is_loaded_again(tmp_path: Path) -> None:
    description.save(tmp_path, _two_nodes())
    assert description.load(tmp_path) == _two_nodes()
    assert [path.name for path in tmp_path.iterdir()] == ["local.json"]


def test_an_empty_directory_has_no_cluster(tmp_path: Path) -> None:
    assert description.load(tmp_path) is None
    with pytest.raises(Rejected, match="no local cluster") as caught:
        description.required(tmp_path)
    assert "gantry local up --dir" in caught.value.hint


def test_a_file_of_another_version_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text('{"version": 99, "shape": "unknown"}')
    with pytest.raises(Rejected, match="version 99"):
        description.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": "x"}'])
def test_a_damaged_file_is_refused_and_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "local.json").write_text(content)
    with pytest.raises(Rejected, match=r"local\.json cannot be read"):
        description.load(tmp_path)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match=r"cannot write .*local\.json"):
        description.save(tmp_path / "missing", _two_nodes())


def test_nodes_have_distinct_names_and_addresses() -> None:
    about = Description(block="127.7.9", nodes=tuple(LocalNode(number=n) for n in range(1, 100)))
    addresses = {about.primary(node) for node in about.nodes} | {
        about.secondary(node) for node in about.nodes
    }
    assert len(addresses) == 2 * 99
    assert all(int(address.rpartition(".")[2]) < 255 for address in addresses)
    assert about.nodes[1].name == "node2.gantry.test"


def test_the_cluster_is_initialised_once_its_first_node_is_a_member() -> None:
    about = _two_nodes()
    assert about.initialised
    assert not about.with_node(LocalNode(number=1)).initialised


def test_a_node_is_replaced_or_added_in_its_place() -> None:
    about = _two_nodes().with_node(LocalNode(number=3)).with_node(LocalNode(number=2, member=True))
    assert [(node.number, node.member) for node in about.nodes] == [
        (1, True),
        (2, True),
        (3, False),
    ]
