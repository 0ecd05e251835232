"""Names, sizes and parameters: what is taken, what is refused, and nothing in between."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.model import names, parameters, sizes
from gantry.model.entities import ParameterValue
from gantry.model.errors import Rejected
from gantry.model.parameters import BACKEND, KVM, NODE

_VALUE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("256", 256), ("10G", 10240), ("1.5t", 1572864), ("512M", 512), ("1GiB", 1024), ("2gb", 2048),
     ("1 G", 1024), ("0.1", 1), ("0.5G", 512), (" 7m ", 7)],
)  # fmt: skip
def test_sizes_are_read_as_mebibytes(text: str, mebibytes: int) -> None:
    assert sizes.parse(text) == mebibytes


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "10X", "1e3", "1.", ".5", "G", "512B", "512iB", "1 2", "1,5", "9" * 5000,
     "0." + "1" * 5000, "١٢", "1K", "NaN", "inf", "0x1", "1_000", "1\n2"],
)  # fmt: skip
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(Rejected):
        sizes.parse(text)


@given(st.integers(1, 1 << 40))
def test_a_size_shown_in_mebibytes_is_read_again(value: int) -> None:
    assert sizes.parse(sizes.show(value, "m")) == value


@given(st.integers(1, 1 << 40))
def test_a_size_shown_to_people_is_nearly_the_same(value: int) -> None:
    assert sizes.parse(sizes.show(value)) == pytest.approx(value, rel=0.06)


@given(st.text())
def test_no_text_makes_the_reading_of_sizes_fail_otherwise(text: str) -> None:
    with contextlib.suppress(Rejected):
        assert 1 <= sizes.parse(text) <= 1 << 40


@given(st.text(max_size=300))
def test_a_host_name_can_be_a_directory_and_a_key(text: str) -> None:
    try:
        name = names.host_name(text, "a name")
    except Rejected:
        return
    assert name == names.host_name(name, "a name")
    assert name.isascii()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert ".." not in name
    assert name[0] not in ".-"


@given(st.text(max_size=200))
def test_no_other_name_leads_out_of_a_directory(text: str) -> None:
    for check in (names.os_name, lambda t: names.plain(t, "x"), names.parameter):
        try:
            taken = check(text)
        except Rejected:
            continue
        assert "/" not in taken
        assert taken not in (".", "..")
        assert taken.isprintable()


@given(st.text(max_size=100))
def test_an_absolute_path_stays_where_it_says(text: str) -> None:
    try:
        taken = names.absolute_path("/" + text, "a path")
    except Rejected:
        return
    assert ".." not in taken.split("/")
    assert "\n" not in taken


@pytest.mark.parametrize("text", ["a..", "web1...", "10.0.0.1/8", "K\u212a/x", "a" * 254])
def test_names_that_nearly_are_host_names_are_refused(text: str) -> None:
    with pytest.raises(Rejected):
        names.host_name(text, "a name")


@given(st.dictionaries(st.sampled_from(sorted(KVM)), _VALUE))
def test_parameters_get_the_type_of_their_defaults(given_: dict[str, object]) -> None:
    try:
        checked = parameters.check(given_, KVM, "kvm")
    except Rejected:
        return
    for name, value in checked.items():
        assert value == "default" or type(value) is type(KVM[name])
    assert parameters.check(checked, KVM, "kvm") == checked


@given(st.sampled_from(sorted(BACKEND)), _VALUE)
def test_backend_parameters_always_make_a_backend(name: str, value: object) -> None:
    try:
        checked = parameters.check({name: value}, BACKEND, "an instance")
    except Rejected:
        return
    merged = parameters.merge({}, checked)
    assert "default" not in merged.values()
    for known in merged.values():
        assert not isinstance(known, int) or 0 <= known <= 1 << 40


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(value: str) -> None:
    with pytest.raises(Rejected):
        parameters.check({"cpu_speed": value}, NODE, "a node")


@pytest.mark.parametrize(
    ("defaults", "name", "least", "most"),
    [
        (BACKEND, "vcpus", 1, 1024),
        (KVM, "cpu_cores", 0, 1024),
        (KVM, "migration_port", 1, 65535),
        (NODE, "ssh_port", 1, 65535),
    ],
)
def test_numbers_have_a_meaning(
    defaults: dict[str, ParameterValue], name: str, least: int, most: int
) -> None:
    for value in (least, most):
        assert parameters.check({name: str(value)}, defaults, "x") == {name: value}
    for value in (least - 1, most + 1, 10**9):
        with pytest.raises(Rejected, match=f"{name} cannot be"):
            parameters.check({name: value}, defaults, "x")


def test_every_default_is_a_value_that_may_be_given() -> None:
    for defaults in (KVM, BACKEND, NODE):
        for name, value in defaults.items():
            assert parameters.check({name: value}, defaults, "x") == {name: value}


def test_memory_stands_for_both_also_when_it_is_taken_away() -> None:
    assert parameters.check({"memory": "1G"}, BACKEND, "x") == {"maxmem": 1024, "minmem": 1024}
    gone = parameters.check({"memory": "default"}, BACKEND, "x")
    assert parameters.merge({"maxmem": 1, "minmem": 1, "vcpus": 2}, gone) == {"vcpus": 2}


def test_control_characters_and_wrong_choices_are_refused() -> None:
    for name, value in (("kernel_args", "a\nb"), ("boot_order", "tape"), ("acpi", "perhaps")):
        with pytest.raises(Rejected):
            parameters.check({name: value}, KVM, "kvm")


def test_the_levels_are_filled_in_from_the_weakest_to_the_strongest() -> None:
    by_os = {"noop": {"a": "1", "b": "1", "c": "1"}, "noop+min": {"b": "2", "c": "2"}}
    assert parameters.os_parameters(by_os, "noop+min", {"c": "3"}) == {"a": "1", "b": "2", "c": "3"}
