"""Which rows and objects commands show, and how they end where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli.conftest import Commands


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["web1"], ["web1"]),
        (["web1*"], ["web1", "web10"]),
        (["web2", "web1"], ["web2", "web1"]),
        (["-F", 'status == "running"'], ["web1"]),
        (["-F", '"env:test" in tags'], ["web2"]),
        (["web1", "-o", "name", "web2"], ["web1", "web2"]),
    ],
)
async def test_names_patterns_and_filters_choose(
    gnt: Commands, words: list[str], wanted: list[str]
) -> None:
    done = await gnt("gnt-instance list --json", *words)
    assert [row["name"].partition(".")[0] for row in done.json] == wanted


async def test_an_unknown_field_ends_with_status_14_and_names_the_nearest(gnt: Commands) -> None:
    done = await gnt("gnt-instance list -o name,statsu")
    assert done.status == 14
    assert "status" in done.err.splitlines()[1]
    assert (await gnt("gnt-instance list-fields statsu")).status == 14


async def test_list_fields_explains_every_field(gnt: Commands) -> None:
    done = await gnt("gnt-instance list-fields name pnode")
    assert done.out.splitlines()[0].split() == ["Name", "Kind", "Title", "Doc"]
    assert len(done.out.splitlines()) == 3


@pytest.mark.parametrize("words", [["nowhere"], ["-F", "status =="], ["-F", "nosuch == 1"]])
async def test_names_and_filters_that_mean_nothing_are_refused(
    gnt: Commands, words: list[str]
) -> None:
    done = await gnt("gnt-instance list", *words)
    assert done.status in (1, 14)
    assert not done.out
    assert "Failure" in done.err


async def test_jobs_are_listed_by_state_and_archived_ones_when_asked_for(gnt: Commands) -> None:
    await gnt("gnt-debug delay --submit 1")
    await gnt("gnt-debug delay --submit 2")
    gnt.queue.at_once = True
    await gnt("gnt-debug delay 3")
    await gnt("gnt-job archive 3")

    async def numbers(*words: str) -> list[int]:
        return [row["id"] for row in (await gnt("gnt-job list --json", *words)).json]

    assert await numbers() == [1, 2]
    assert await numbers("--archived") == [3]
    assert await numbers("--pending") == [1, 2]
    assert await numbers("--finished", "--pending") == [1, 2]
    assert await numbers("--running") == []
    assert await numbers("--pending", "-F", "id == 2") == [2]


async def test_info_of_jobs_has_their_logs(gnt: Commands) -> None:
    gnt.queue.at_once = True
    await gnt("gnt-instance start web1")
    number = gnt.queue.jobs()[0].id
    await gnt.queue.say(number, "one line")
    done = await gnt("gnt-job info 1")
    assert "OP_INSTANCE_STARTUP" in done.out
    assert "Thu Jan  1 00:33:20 1970 one line" in done.out
    assert (await gnt("gnt-job info --json 1")).json[0]["log"][0]["text"] == "one line"


async def test_tags_are_found_on_all_objects(gnt: Commands) -> None:
    found = await gnt("gnt-cluster search-tags ^tier:[0-9] --priority low")
    assert found.out == "/instances/web2.example.com tier:1\n"
    shown = await gnt("gnt-cluster search-tags --json env")
    assert shown.json == [{"path": "/instances/web2.example.com", "tag": "env:test"}]
    assert (await gnt("gnt-cluster search-tags nothing")).out == ""
    wrong = await gnt("gnt-cluster search-tags (")
    assert (wrong.status, "regular expression" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    "line",
    [
        "gnt-os list --priority low",
        "gnt-os info --priority low",
        "gnt-instance info --roman --priority low web1",
        "gnt-instance console --priority low --show-cmd web1",
        "gnt-cluster info --roman",
    ],
)
async def test_options_that_have_nothing_to_do_are_taken(gnt: Commands, line: str) -> None:
    assert (await gnt(line)).status == 0
    program, command, *words = line.split()
    shown = (await gnt(f"{program} {command} --help")).out
    _, _, without_effect = shown.partition("without effect here")
    for word in {"--roman", "--priority"} & {*words}:
        assert word in without_effect


async def test_locks_are_shown_only_at_sensible_intervals(gnt: Commands) -> None:
    for wrong in ("0", "-1", "nan", "1e9"):
        assert (await gnt(f"gnt-debug locks --interval={wrong}")).status == 2


async def test_tags_are_shown_read_from_a_file_and_set(gnt: Commands) -> None:
    assert (await gnt("gnt-instance list-tags web2")).out == "env:test\ntier:1\n"
    assert (await gnt("gnt-cluster list-tags --json")).json == []
    file = gnt.root / "tags"
    file.write_text("a\n\nb\n")
    assert await gnt.operation(f"gnt-node add-tags --from {file} node1") == {
        "OP_ID": "OP_TAGS_SET",
        "kind": "node",
        "name": "node1",
        "tags": ["a", "b"],
    }
    assert (await gnt("gnt-instance add-tags web1")).status == 2
    assert (await gnt("gnt-instance add-tags --from /nowhere web1")).status == 2


async def test_getmaster_version_and_cluster_info(gnt: Commands) -> None:
    assert (await gnt("gnt-cluster info --json")).json["name"] == "cluster.example.com"
    assert (await gnt("gnt-cluster version")).out.startswith("Gantry ")
    assert (await gnt("gnt-cluster getmaster")).status == 5
    (gnt.root / "var/lib/ganeti").mkdir(parents=True)
    (gnt.root / "var/lib/ganeti/ssconf_master_node").write_text("node1.example.com\n")
    assert (await gnt("gnt-cluster getmaster")).out == "node1.example.com\n"


async def test_without_a_cluster_the_status_is_5_and_elsewhere_11(
    gnt: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "other"
    monkeypatch.setenv("GANTRY_ROOT", str(root))
    none = await gnt("gnt-instance list")
    assert (none.status, none.out) == (5, "")
    assert "gnt-cluster init" in none.err
    (root / "etc/gantry").mkdir(parents=True)
    (root / "etc/gantry/agent.json").write_text('{"name": "node2.example.com"}')
    (root / "var/lib/ganeti").mkdir(parents=True)
    (root / "var/lib/ganeti/ssconf_master_node").write_text("node1.example.com\n")
    elsewhere = await gnt("gnt-instance list")
    assert elsewhere.status == 11
    assert "node1.example.com" in elsewhere.err
    (root / "var/lib/ganeti/ssconf_master_node").write_text("node2.example.com\n")
    down = await gnt("gnt-instance list")
    assert down.status == 1
    assert "the master does not answer" in down.err
