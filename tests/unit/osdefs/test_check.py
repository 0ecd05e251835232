"""Valid and invalid definitions: every fault names its file and the remedy."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gantry.model.live import OsFacts
from gantry.osdefs.check import Entry, check, version

PATH = "/srv/ganeti/os/deb"


def script(mode: int = 0o755) -> Entry:
    return Entry(kind="file", mode=mode, digest="s")


def text(content: str | bytes) -> Entry:
    data = content.encode() if isinstance(content, str) else content
    return Entry(kind="file", mode=0o644, digest=data.hex(), content=data)


def definition(
    versions: str = "20\n", files: Mapping[str, Entry | None] | None = None, **more: Entry | None
) -> OsFacts:
    entries = {name: script() for name in ("create", "export", "import", "rename", "verify")}
    entries["ganeti_api_version"] = text(versions)
    entries["parameters.list"] = text("")
    changes = {name.replace("_list", ".list"): entry for name, entry in more.items()}
    for file, entry in {**(files or {}), **changes}.items():
        if entry is None:
            del entries[file]
        else:
            entries[file] = entry
    return check("deb", PATH, entries)


def test_a_complete_definition_is_valid() -> None:
    facts = definition("20\n15\n 10 \n", variants_list=text("a\n\n# no\n  # no\n b \na\n"))
    assert facts.problem == ""
    assert facts.valid
    assert facts.api_versions == (10, 15, 20)
    assert facts.variants == ("a", "b")
    assert facts.trusted


@pytest.mark.parametrize("file", ["export", "import", "rename", "verify", "parameters.list"])
def test_a_missing_file_is_named(file: str) -> None:
    facts = definition(files={file: None})
    assert f"{file} is missing in {PATH}" in facts.problem
    assert "add this" in facts.problem


def test_all_faults_are_named_at_once() -> None:
    problem = definition(export=None, rename=script(0o644)).problem
    assert "export is missing" in problem
    assert "run chmod +x rename" in problem


def test_only_the_owner_s_execute_bit_counts() -> None:
    assert definition(create=script(0o700)).valid
    assert (
        "create in /srv/ganeti/os/deb is not executable" in definition(create=script(0o655)).problem
    )


def test_create_may_be_replaced_by_create_untrusted() -> None:
    facts = definition(create=None, create_untrusted=script())
    assert facts.valid
    assert not facts.trusted
    assert "create is missing" in definition(create=None).problem


def test_version_15_needs_no_verify_and_no_parameters() -> None:
    facts = definition("15", verify=None, parameters_list=None, variants_list=text("a\n"))
    assert facts.valid
    assert facts.variants == ("a",)
    assert facts.parameters == ()


def test_version_10_ignores_variants() -> None:
    facts = definition("10", verify=None, parameters_list=None, variants_list=text("a\n"))
    assert facts.valid
    assert facts.variants == ()


def test_the_checks_use_the_highest_version_that_both_sides_know() -> None:
    assert definition("25\n15\n", verify=None, parameters_list=None).valid
    assert version((15, 25)) == 15


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("twenty\n", "line 1: 'twenty' is not a version"),
        ("20\n\n15\n", "line 2: '' is not a version"),
        ("20\n# all\n", "line 2"),
        ("5\n25\n", "lists 5, 25, but this node knows 10, 15, 20"),
        ("-20\n", "line 1"),
        ("٢٠\n", "line 1"),
    ],
)
def test_a_bad_version_file_is_explained(content: str, words: str) -> None:
    problem = definition(content).problem
    assert "ganeti_api_version" in problem
    assert words in problem


def test_a_missing_version_file_is_named() -> None:
    assert "ganeti_api_version is missing" in definition(ganeti_api_version=None).problem


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Entry(kind="directory"), "is a directory; it must be a regular file"),
        (Entry(kind="special"), "is a special file"),
        (Entry(kind="link"), "leads nowhere"),
        (Entry(kind="file", mode=0o755, problem="Input/output error"), "Input/output error"),
    ],
)
@pytest.mark.parametrize("file", ["create", "verify", "ganeti_api_version", "variants.list"])
def test_what_is_no_readable_file_is_named(file: str, entry: Entry, words: str) -> None:
    problem = definition(files={file: entry}).problem
    assert words in problem
    assert file in problem


@pytest.mark.parametrize("name", ["instance.old", "a/b", "a+b", "", "ä"])
def test_a_name_that_cannot_be_asked_for_makes_it_invalid(name: str) -> None:
    facts = check(name, PATH, {})
    assert "rename the directory" in facts.problem


def test_parameters_may_have_comments_blank_lines_and_no_description() -> None:
    content = "# what can be set\n\nrelease\tthe release of it\nkey-x   a  b \nplain\n"
    facts = definition(parameters_list=text(content))
    assert facts.problem == ""
    assert facts.parameters == (
        ("release", "the release of it"),
        ("key-x", "a  b"),
        ("plain", ""),
    )


@pytest.mark.parametrize("second", ["dhcp again", "DHCP other case"])
def test_a_parameter_that_is_there_twice_is_named_with_its_line(second: str) -> None:
    problem = definition(parameters_list=text(f"dhcp one\n\n{second}\n")).problem
    assert "parameters.list" in problem
    assert "line 3" in problem
    assert "'dhcp' in line 1" in problem


@pytest.mark.parametrize("line", ["a=b x", "x" * 65, "a.b c"])
def test_a_name_that_cannot_be_a_parameter_is_named(line: str) -> None:
    assert "line 1" in definition(parameters_list=text(line)).problem


def test_a_variant_that_cannot_be_asked_for_is_named() -> None:
    assert (
        "variants.list in /srv/ganeti/os/deb, line 2"
        in definition(variants_list=text("a\nb c\n")).problem
    )


def test_text_that_is_not_utf_8_is_named_with_its_line() -> None:
    problem = definition(parameters_list=text(b"a\nb \xff\n")).problem
    assert "parameters.list in /srv/ganeti/os/deb, line 2: this is not UTF-8" in problem


def test_a_text_file_that_is_too_large_is_named() -> None:
    assert "too large" in definition(parameters_list=script()).problem


def test_the_digest_shows_which_file_differs() -> None:
    one = definition()
    other = definition(create=Entry(kind="file", mode=0o755, digest="t"))
    third = definition(create=script(0o700))
    assert one == definition()
    assert len({one.digest, other.digest, third.digest}) == 3
    assert {file for file in one.files if one.files[file] != other.files[file]} == {"create"}
    assert {file for file in one.files if one.files[file] != third.files[file]} == {"create"}
