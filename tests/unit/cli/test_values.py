"""What stands behind -B, -H, -O, --disk and --net."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.cli import values
from gantry.cli.errors import Usage

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_/", min_size=1, max_size=12).filter(
    lambda name: not name.startswith("no_")
)
VALUES = st.text(max_size=30)


def test_reads_names_with_and_without_values() -> None:
    assert values.key_values("a=1,b,no_c,-d,e=", "-B") == {
        "a": "1",
        "b": True,
        "c": False,
        "d": "default",
        "e": "",
    }


def test_empty_text_has_no_values() -> None:
    assert values.key_values("", "-B") == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"a=1\,2", "1,2"),
        (r"a=1\\", "1\\"),
        (r"a=c:\x", r"c:\x"),
        ("a=b=c", "b=c"),
        ("a=1\\", "1\\"),
    ],
)
def test_a_backslash_keeps_a_comma(text: str, value: str) -> None:
    assert values.key_values(text, "-O") == {"a": value}


@pytest.mark.parametrize("text", ["=1", "a=1,=2", "a=1,a=2", "no_", "-"])
def test_refuses_values_without_names_and_names_given_twice(text: str) -> None:
    with pytest.raises(Usage):
        values.key_values(text, "-B")


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_is_written_with_escapes_is_read_back(wanted: dict[str, str]) -> None:
    text = ",".join(
        f"{name}={value}".replace("\\", "\\\\").replace(",", "\\,")
        for name, value in wanted.items()
    )
    assert values.key_values(text, "-O") == wanted


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for read in (values.key_values, values.headed):
        try:
            read(text, "-H")
        except Usage as refused:
            assert "-H" in str(refused)


@given(st.lists(st.text(), max_size=3))
def test_any_disk_or_nic_is_read_or_refused_in_words(texts: list[str]) -> None:
    for read in (values.disks, values.nics, values.nic_changes):
        try:
            read(texts)
        except Usage as refused:
            assert str(refused)


def test_os_parameters_are_text() -> None:
    assert values.texts("a=1,b,no_c", "-O") == {"a": "1", "b": "yes", "c": "no"}


def test_a_hypervisor_goes_before_its_parameters() -> None:
    assert values.headed("kvm:acpi=yes,no_usb", "-H") == ("kvm", {"acpi": "yes", "usb": False})
    assert values.headed("fake", "-H") == ("fake", {})


@pytest.mark.parametrize("text", ["", ":a=1", "acpi=yes"])
def test_refuses_parameters_without_their_hypervisor(text: str) -> None:
    with pytest.raises(Usage):
        values.headed(text, "-H")


def test_refuses_the_same_hypervisor_twice() -> None:
    assert values.by_head(["kvm:a=1", "fake:b=2"], "-H") == {"kvm": {"a": "1"}, "fake": {"b": "2"}}
    with pytest.raises(Usage, match="kvm is given twice"):
        values.by_head(["kvm:a=1", "kvm:b=2"], "-H")


@pytest.mark.parametrize(
    ("text", "mebibytes"), [("256", 256), ("1.5G", 1536), ("10g", 10240), ("1t", 1048576)]
)
def test_sizes_are_in_mebibytes(text: str, mebibytes: int) -> None:
    assert values.size(text, "the size") == mebibytes


@pytest.mark.parametrize("text", ["-1", "0", "10X", "1e3", "", "G", "1.5.2G", "９", "inf"])
def test_refuses_what_is_no_size_and_says_how_sizes_are_written(text: str) -> None:
    with pytest.raises(Usage) as refused:
        values.size(text, "the size of disk 0")
    assert "disk 0" in str(refused.value)
    assert "512M" in refused.value.hint


def test_disks_are_in_the_order_of_their_numbers() -> None:
    found = values.disks(["1:size=1G", "0:size=10G,name=root,format=qcow2"])
    assert found == [{"size": 10240, "name": "root", "format": "qcow2"}, {"size": 1024}]


@pytest.mark.parametrize(
    "given_disks",
    [
        ["0"],
        ["size=1G"],
        ["0:name=x"],
        ["0:size"],
        ["1:size=1G"],
        ["0:size=1G", "0:size=2G"],
        ["-1:size=1G"],
        ["0:size=-1"],
        ["0:size=10X"],
        ["99999999999:size=1G"],
        ["²:size=1G"],
    ],
)
def test_refuses_disks_that_make_no_sense(given_disks: list[str]) -> None:
    with pytest.raises(Usage):
        values.disks(given_disks)


def test_nics_may_have_no_values() -> None:
    assert values.nics(["0:ip=10.0.0.5,link=br0", "1"]) == [{"ip": "10.0.0.5", "link": "br0"}, {}]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("add:link=br1", ["add", -1, {"link": "br1"}]),
        ("add", ["add", -1, {}]),
        ("0:add,link=br1", ["add", 0, {"link": "br1"}]),
        ("0:ip=10.0.0.9", ["modify", 0, {"ip": "10.0.0.9"}]),
        ("0:modify,ip=10.0.0.9", ["modify", 0, {"ip": "10.0.0.9"}]),
        ("-1:remove", ["remove", -1, {}]),
        ("remove", ["remove", -1, {}]),
        ("eth0:remove", ["remove", "eth0", {}]),
    ],
)
def test_nic_changes_have_an_action_a_place_and_values(text: str, change: list[object]) -> None:
    assert values.nic_changes([text]) == [change]


@pytest.mark.parametrize(
    "text", ["", "modify:ip=10.0.0.1", ":remove", "0:add,remove", "0:remove,ip=1", "ip=10.0.0.1"]
)
def test_refuses_nic_changes_that_make_no_sense(text: str) -> None:
    with pytest.raises(Usage, match="--net"):
        values.nic_changes([text])
