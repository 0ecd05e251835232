"""Bundles, of hooks and of OS definitions: what every agent does with one."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import envelope

from gantry.model import bundles
from gantry.model.bundle_orders import FileKind
from gantry.model.bundles import BundleFile
from gantry.model.errors import Rejected
from gantry.model.orders import BundleInstall, BundleRestore, ReadBundle, ReadFacts

ADD = "instance-add-pre.d"


def order(*names: str, replace: bool = False) -> BundleInstall:
    files = bundles.check(
        BundleFile(path=f"{ADD}/{name}", mode=0o755, content=b"#!/bin/sh\n") for name in names
    )
    sha256 = bundles.digest(bundles.entries(files))
    return BundleInstall(sha256=sha256, packed=bundles.pack(files), replace=replace)


async def seen(harness: Harness) -> tuple[str, dict[str, FileKind]]:
    found = await harness.agents.ask(harness.address, ReadBundle(), 5.0)
    return found.sha256, {one.path: one.kind for one in found.files}


async def test_a_bundle_is_installed_and_restored_and_all_may_be_repeated(
    harness: Harness,
) -> None:
    first, second = order("10-a"), order("10-a", "20-b")
    for number in range(2):
        await harness.agents.order(harness.address, envelope(f"j/first/{number}"), first)
    assert await seen(harness) == (first.sha256, {f"{ADD}/10-a": FileKind.BUNDLE})
    await harness.agents.order(harness.address, envelope("j/second"), second)
    assert set((await seen(harness))[1]) == {f"{ADD}/10-a", f"{ADD}/20-b"}
    back = BundleRestore(sha256=first.sha256, undoing=second.sha256)
    for number in range(2):
        await harness.agents.order(harness.address, envelope(f"j/back/{number}"), back)
    assert await seen(harness) == (first.sha256, {f"{ADD}/10-a": FileKind.BUNDLE})
    await harness.agents.order(harness.address, envelope("j/none"), BundleRestore())
    assert await seen(harness) == ("", {})


async def test_a_local_file_in_the_way_is_refused_or_set_aside(harness: Harness) -> None:
    harness.add_local_hook(f"{ADD}/10-a")
    with pytest.raises(Rejected, match="put there by hand"):
        await harness.agents.order(harness.address, envelope("j/1"), order("10-a"))
    assert await seen(harness) == ("", {f"{ADD}/10-a": FileKind.LOCAL})
    replacing = order("10-a", replace=True)
    await harness.agents.order(harness.address, envelope("j/2"), replacing)
    assert await seen(harness) == (replacing.sha256, {f"{ADD}/10-a": FileKind.BUNDLE})
    undo = BundleRestore(undoing=replacing.sha256)
    await harness.agents.order(harness.address, envelope("j/3"), undo)
    assert await seen(harness) == ("", {f"{ADD}/10-a": FileKind.LOCAL})


async def test_another_content_than_was_announced_is_refused(harness: Harness) -> None:
    wrong = BundleInstall(sha256="0" * 64, packed=order("10-a").packed)
    with pytest.raises(Rejected, match="the bundle that came to node"):
        await harness.agents.order(harness.address, envelope("j/1"), wrong)
    broken = BundleInstall(sha256=order("10-a").sha256, packed=b"no bundle")
    with pytest.raises(Rejected, match="no bundle"):
        await harness.agents.order(harness.address, envelope("j/2"), broken)
    with pytest.raises(Rejected, match="not on this node"):
        gone = BundleRestore(sha256="1" * 64)
        await harness.agents.order(harness.address, envelope("j/3"), gone)
    assert await seen(harness) == ("", {})


async def test_what_is_installed_is_in_the_facts(harness: Harness) -> None:
    one = order("10-a")
    await harness.agents.order(harness.address, envelope("j/1"), one)
    facts = await harness.agents.ask(harness.address, ReadFacts(), 5.0)
    assert facts.bundles == {bundles.HOOKS: one.sha256}


def version(content: bytes, replace: bool = False) -> BundleInstall:
    files = bundles.check(
        [
            BundleFile(path="create", mode=0o755, content=content),
            BundleFile(path="parts/disk", mode=0o644, content=b"x"),
        ]
    )
    sha256 = bundles.digest(bundles.entries(files))
    return BundleInstall(
        target="os/mine", sha256=sha256, packed=bundles.pack(files), replace=replace
    )


async def seen_of_os(harness: Harness) -> tuple[str, dict[str, FileKind]]:
    found = await harness.agents.ask(harness.address, ReadBundle(target="os/mine"), 5.0)
    return found.sha256, {one.path: one.kind for one in found.files}


async def test_a_definition_is_beside_the_hooks(harness: Harness) -> None:
    first, second = version(b"#!/bin/sh\n"), version(b"#!/bin/bash\n")
    for number, one in enumerate((first, first, second)):
        await harness.agents.order(harness.address, envelope(f"j/{number}"), one)
    hooks = order("10-a")
    await harness.agents.order(harness.address, envelope("j/hooks"), hooks)
    files = {"create": FileKind.BUNDLE, "parts/disk": FileKind.BUNDLE}
    assert await seen_of_os(harness) == (second.sha256, files)
    facts = await harness.agents.ask(harness.address, ReadFacts(), 5.0)
    assert facts.bundles == {"hooks": hooks.sha256, "os/mine": second.sha256}
    back = BundleRestore(target="os/mine", sha256=first.sha256, undoing=second.sha256)
    await harness.agents.order(harness.address, envelope("j/back"), back)
    assert await seen_of_os(harness) == (first.sha256, files)
    none = BundleRestore(target="os/mine")
    await harness.agents.order(harness.address, envelope("j/none"), none)
    assert await seen_of_os(harness) == ("", {})
    assert (await seen(harness))[0] == hooks.sha256


async def test_a_definition_put_there_by_hand_is_refused_or_set_aside(harness: Harness) -> None:
    harness.add_os("mine")
    with pytest.raises(Rejected, match="put there by hand"):
        await harness.agents.order(harness.address, envelope("j/1"), version(b"x"))
    assert await seen_of_os(harness) == ("", {"mine": FileKind.LOCAL})
    replacing = version(b"x", replace=True)
    await harness.agents.order(harness.address, envelope("j/2"), replacing)
    assert (await seen_of_os(harness))[0] == replacing.sha256
    undo = BundleRestore(target="os/mine", undoing=replacing.sha256)
    await harness.agents.order(harness.address, envelope("j/3"), undo)
    assert await seen_of_os(harness) == ("", {"mine": FileKind.LOCAL})


@pytest.mark.parametrize("target", ["os/../../etc", "os/", "os/a/b", "os/a.b", "x", "os/.bundles"])
async def test_what_is_no_target_is_refused(harness: Harness, target: str) -> None:
    wrong = msgspec.structs.replace(version(b"x"), target=target)
    with pytest.raises(Rejected, match="cannot be the name"):
        await harness.agents.order(harness.address, envelope("j/1"), wrong)
    with pytest.raises(Rejected, match="cannot be the name"):
        await harness.agents.ask(harness.address, ReadBundle(target=target), 5.0)
