"""Finding definitions on a real disk."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.integration.osdefs.definitions import write

from gantry.model.live import OsFacts
from gantry.osdefs.search import DEFAULT_SEARCH_PATH, Finder, find, search_directories


def finder(tmp_path: Path) -> Finder:
    others = tuple(str(tmp_path / name) for name in ("local", "lib", "share"))
    return Finder(tmp_path / "root", ("/srv/ganeti/os", *others))


def own(tmp_path: Path) -> Path:
    return tmp_path / "root/srv/ganeti/os"


def only(found: tuple[OsFacts, ...]) -> OsFacts:
    (one,) = found
    return one


def test_the_first_directory_is_the_node_s_own_and_the_others_are_the_system_s() -> None:
    assert search_directories(Path("/")) == tuple(map(Path, DEFAULT_SEARCH_PATH))
    assert search_directories(Path("/c/node1")) == (
        Path("/c/node1/srv/ganeti/os"),
        *map(Path, DEFAULT_SEARCH_PATH[1:]),
    )


def test_missing_directories_are_skipped(tmp_path: Path) -> None:
    assert finder(tmp_path).find() == ()
    write(tmp_path / "share")
    assert only(finder(tmp_path).find()).path == str(tmp_path / "share/deb")


def test_the_first_of_a_name_wins_and_the_others_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "lib")
    write(own(tmp_path))
    write(own(tmp_path), "alpha")
    search = finder(tmp_path)
    assert [facts.path for facts in search.find()] == [
        str(own(tmp_path) / "alpha"),
        str(own(tmp_path) / "deb"),
        str(tmp_path / "lib/deb"),
    ]
    facts = search.lookup("deb")
    assert facts is not None
    assert facts.path == str(own(tmp_path) / "deb")


def test_an_invalid_definition_shadows_a_valid_one(tmp_path: Path) -> None:
    (own(tmp_path) / "deb").mkdir(parents=True)
    write(tmp_path / "lib")
    facts = finder(tmp_path).lookup("deb")
    assert facts is not None
    assert "ganeti_api_version is missing" in facts.problem


def test_hidden_entries_and_files_are_no_definitions(tmp_path: Path) -> None:
    write(own(tmp_path), ".deb")
    (own(tmp_path) / "README").write_text("x")
    assert finder(tmp_path).find() == ()


def test_a_directory_whose_name_cannot_be_asked_for_is_shown_as_invalid(tmp_path: Path) -> None:
    write(own(tmp_path), "deb.old")
    search = finder(tmp_path)
    assert "rename the directory" in only(search.find()).problem
    assert search.lookup("deb.old") is None


@pytest.mark.parametrize("name", ["..", "../os/deb", "deb/../deb", "", "/etc", "."])
def test_a_name_never_leads_out_of_the_search_path(tmp_path: Path, name: str) -> None:
    write(own(tmp_path))
    assert finder(tmp_path).lookup(name) is None


def test_a_directory_that_cannot_be_listed_ends_the_search(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = tmp_path / "lib"
    loop.symlink_to(loop)
    write(tmp_path / "local", "before")
    write(tmp_path / "share", "after")
    assert [facts.name for facts in finder(tmp_path).find()] == ["before"]
    assert "cannot be listed" in caplog.text


def opened_below(directory: Path) -> list[str]:
    """A list that fills with the files below ``directory`` that this process opens."""
    opened: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(directory)):
            opened.append(Path(str(arguments[0])).name)

    sys.addaudithook(hook)
    return opened


def test_a_change_is_seen_and_only_it_is_read_again(tmp_path: Path) -> None:
    path = write(own(tmp_path))
    search = finder(tmp_path)
    opened = opened_below(path)
    before = only(search.find())
    assert sorted(opened) == sorted(file.name for file in path.iterdir())
    opened.clear()
    assert only(search.find()) is before
    assert search.lookup("deb") is before
    assert opened == []
    (path / "create").write_text("#!/bin/sh\nexit 1\n")
    opened.clear()
    after = only(search.find())
    assert opened == ["create"]
    assert {file for file in after.files if after.files[file] != before.files[file]} == {"create"}


def test_what_could_not_be_read_for_a_moment_is_read_again(tmp_path: Path) -> None:
    path = write(own(tmp_path))
    search = finder(tmp_path)
    with (path / "create").open("r+") as held:
        # While there is a lease nobody can open it without waiting; the file stays the same.
        fcntl.fcntl(held, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert "cannot be read (Resource temporarily" in only(search.find()).problem
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    found = search.lookup("deb")
    assert found is not None and found.valid
    assert only(search.find()).valid


def test_a_link_that_leads_nowhere_is_known_by_where_it_leads(tmp_path: Path) -> None:
    first, second, third = (
        write(tmp_path / f"n{number}/srv/ganeti/os") / "gone" for number in range(3)
    )
    first.symlink_to("nowhere/")
    second.symlink_to("./nowhere")
    third.symlink_to("elsewhere")
    told = [
        only(find(one.parents[4], ("/srv/ganeti/os",))).digest for one in (first, second, third)
    ]
    assert told[0] == told[1] != told[2]


def test_taking_the_right_to_execute_is_seen(tmp_path: Path) -> None:
    path = write(own(tmp_path))
    search = finder(tmp_path)
    assert only(search.find()).valid
    (path / "create").chmod(0o644)
    assert "chmod +x" in only(search.find()).problem


def test_equal_definitions_on_two_nodes_have_equal_digests(tmp_path: Path) -> None:
    write(tmp_path / "n1/srv/ganeti/os")
    path = write(tmp_path / "n2/srv/ganeti/os")
    first = only(find(tmp_path / "n1", ("/srv/ganeti/os",)))
    assert only(find(tmp_path / "n2", ("/srv/ganeti/os",))).digest == first.digest
    (path / "parts").mkdir()
    (path / "parts/inner").write_text("x")
    second = only(find(tmp_path / "n2", ("/srv/ganeti/os",)))
    assert second.digest != first.digest
    assert set(second.files) - set(first.files) == {"parts", "parts/inner"}


def test_a_large_file_is_told_apart_by_size_beginning_and_end(tmp_path: Path) -> None:
    path = write(own(tmp_path))
    image = path / "image"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    search = finder(tmp_path)
    empty = only(search.find()).files["image"]
    with image.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert only(search.find()).files["image"] != empty


def test_pipes_links_and_directories_in_place_of_scripts_are_explained(tmp_path: Path) -> None:
    path = write(own(tmp_path))
    for script in ("create", "export", "import", "rename"):
        (path / script).unlink()
    os.mkfifo(path / "create")
    (path / "export").mkdir()
    (path / "import").symlink_to("nowhere")
    (path / "rename").symlink_to("verify")
    problem = only(finder(tmp_path).find()).problem
    assert f"create in {path} is a special file" in problem
    assert f"export in {path} is a directory" in problem
    assert f"import in {path} is a symbolic link that leads nowhere" in problem
    assert "rename" not in problem


def test_a_definition_may_be_a_link_to_a_directory_and_may_hold_loops(tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere")
    (path / "loop").symlink_to(path)
    own(tmp_path).mkdir(parents=True)
    (own(tmp_path) / "deb").symlink_to(path)
    assert only(finder(tmp_path).find()).valid


def test_names_that_are_not_utf_8_can_be_reported(tmp_path: Path) -> None:
    path = write(own(tmp_path))
    (Path(os.fsdecode(os.fsencode(path) + b"/\xff"))).write_text("x")
    assert "\\xff" in only(finder(tmp_path).find()).files


def test_a_definition_with_very_many_files_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = write(own(tmp_path))
    (path / "many").mkdir()
    for number in range(5001):
        (path / "many" / str(number)).touch()
    assert "more than 5000 files" in only(finder(tmp_path).find()).problem
