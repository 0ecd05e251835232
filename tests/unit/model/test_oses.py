"""The cluster's view of OS definitions."""

from __future__ import annotations

from gantry.model.live import OsFacts
from gantry.model.oses import combine, complaints, named


def facts(
    name: str = "deb",
    *,
    problem: str = "",
    variants: tuple[str, ...] = ("a", "b"),
    path: str = "/srv/ganeti/os",
    create: str = "1",
    api_versions: tuple[int, ...] = (15, 20),
) -> OsFacts:
    return OsFacts(
        name=name,
        path=f"{path}/{name}",
        problem=problem,
        variants=variants,
        parameters=(("dhcp", "whether"), ("key", "which")),
        api_versions=api_versions,
        digest=create,
        files={"create": create, "verify": "v"},
    )


def test_what_all_nodes_have_is_valid() -> None:
    (one,) = combine({"n1": (facts(),), "n2": (facts(),)})
    assert one.valid
    assert one.variants == ("a", "b")
    assert one.parameters == (("dhcp", "whether"), ("key", "which"))
    assert one.full_names == ("deb+a", "deb+b")
    assert complaints([one]) == ()


def test_only_what_all_nodes_offer_is_offered() -> None:
    (one,) = combine({"n1": (facts(),), "n2": (facts(variants=("b", "c"), api_versions=(20,)),)})
    assert one.variants == ("b",)
    assert one.api_versions == (20,)


def test_an_os_without_variants_is_asked_for_by_its_name() -> None:
    (one,) = combine({"n1": (facts(variants=()),)})
    assert one.full_names == ("deb",)


def test_an_os_that_a_node_does_not_have_is_not_valid() -> None:
    (one,) = combine({"n1": (facts(),), "n2": ()})
    assert not one.valid
    assert one.problems == {"n2": "the OS definition deb is not there"}
    assert one.node_status["n2"] == ()
    assert [(c.node, c.os) for c in complaints([one])] == [("n2", "deb")]


def test_the_first_entry_of_a_node_decides() -> None:
    good, bad = facts(), facts(problem="create is missing", path="/usr/share/ganeti/os")
    assert combine({"n1": (good, bad)})[0].valid
    hidden = combine({"n1": (bad, good)})[0]
    assert not hidden.valid
    found = {complaint.message: complaint.harmless for complaint in complaints([hidden])}
    assert found == {
        "create is missing": False,
        "/usr/share/ganeti/os/deb is used and hides /srv/ganeti/os/deb": True,
    }


def test_a_node_unlike_most_is_named_with_the_files_that_differ() -> None:
    (one,) = combine({"n1": (facts(create="2"),), "n2": (facts(),), "n3": (facts(),)})
    assert one.valid
    assert one.differing == {"n1": ("create",)}
    [complaint] = complaints([one])
    assert complaint.message == (
        "differs from most nodes in: create (gnt-os diagnose deb shows how)"
    )


def test_definitions_come_sorted_by_name() -> None:
    found = combine({"n1": (facts("noop"), facts("busybox")), "n2": (facts("busybox"),)})
    assert [one.name for one in found] == ["busybox", "noop"]
    assert [one.valid for one in found] == [True, False]


def test_no_nodes_have_no_definitions() -> None:
    assert combine({}) == ()


def test_a_list_entry_without_variant_holds_for_all_variants() -> None:
    assert named(["deb"], "deb+a")
    assert named(["deb+a"], "deb+a")
    assert not named(["deb+a"], "deb+b")
    assert not named(["deb+a"], "deb")
    assert not named(["de"], "deb")


def test_nodes_are_compared_with_the_first_by_name_whatever_their_order() -> None:
    made = {f"n{number}": (facts(create=str(number)),) for number in (3, 1, 2)}
    (one,) = combine(made)
    assert list(one.node_status) == ["n1", "n2", "n3"]
    assert set(one.differing) == {"n2", "n3"}
