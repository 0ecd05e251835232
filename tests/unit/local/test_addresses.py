"""Which block of addresses a local cluster gets."""

import itertools
import socket
from pathlib import Path

import pytest

from gantry.local import addresses, description
from gantry.local.description import Description, LocalNode
from gantry.model.errors import OperationFailed


def test_every_block_is_a_candidate_once_and_none_is_in_127_0() -> None:
    found = list(addresses.candidates("/some/dir", {}))
    assert len(found) == len(set(found)) == 253 * 256
    assert all(1 <= int(block.split(".")[1]) <= 253 for block in found)
    assert all(0 <= int(block.split(".")[2]) <= 255 for block in found)


def test_a_directory_always_begins_with_the_same_block_and_others_with_others() -> None:
    first = next(addresses.candidates("/some/dir", {}))
    assert first == next(addresses.candidates("/some/dir", {}))
    assert first != next(addresses.candidates("/other/dir", {}))


def test_a_block_of_another_cluster_is_left_out_and_ones_own_is_kept() -> None:
    first, second = itertools.islice(addresses.candidates("/some/dir", {}), 2)
    assert next(addresses.candidates("/some/dir", {first: "/other"})) == second
    assert next(addresses.candidates("/some/dir", {first: "/some/dir"})) == first


def test_clusters_that_are_gone_lose_their_blocks() -> None:
    registry = {"127.1.1": "/there", "127.1.2": "/gone", "127.1.3": "/moved"}
    blocks = {"/there": "127.1.1", "/moved": "127.9.9"}
    found = addresses.still_used(registry, lambda place: {blocks.get(place, "")})
    assert found == {"127.1.1": "/there"}


def _claim(directory: Path, registry: Path) -> str:
    directory.mkdir(exist_ok=True)

    def save(block: str) -> None:
        about = Description(block=block, nodes=(LocalNode(number=1),))
        description.save(directory, about)

    return addresses.claim(directory, save, registry)


def test_two_clusters_never_get_the_same_block(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    one = _claim(tmp_path / "one", registry)
    two = _claim(tmp_path / "two", registry)
    assert one != two
    assert _claim(tmp_path / "one", registry) == one


def test_a_block_whose_ports_are_taken_is_not_given_out(tmp_path: Path) -> None:
    directory = tmp_path / "one"
    first = next(addresses.candidates(str(directory), {}))
    with socket.socket() as taken:
        taken.bind((f"{first}.1", description.AGENT_PORT))
        taken.listen()
        assert not addresses.is_free(first)
        assert _claim(directory, tmp_path / "registry") != first


def test_a_damaged_registry_is_made_anew(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    registry.mkdir()
    (registry / "blocks.json").write_text("{broken")
    assert _claim(tmp_path / "one", registry)


def test_the_registry_may_be_missing_a_home(tmp_path: Path) -> None:

    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OperationFailed, match="registry of local clusters"):
        _claim(tmp_path / "one", file / "below")


def test_a_cluster_may_have_a_second_block(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    one = _claim(tmp_path / "one", registry)

    def save(block: str) -> None:
        about = Description(block=one, simulated_block=block, nodes=(LocalNode(number=1),))
        description.save(tmp_path / "one", about)

    more = addresses.claim(tmp_path / "one", save, registry, besides=one)
    other = _claim(tmp_path / "two", registry)
    assert len({one, more, other}) == 3
    assert set(
        addresses.still_used(addresses._read(registry / "blocks.json"), addresses._blocks_of)
    ) == {one, more, other}
