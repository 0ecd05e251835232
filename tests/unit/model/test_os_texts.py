"""How a definition differs between two nodes, as it is shown."""

from __future__ import annotations

from gantry.model.os_texts import MAX_LINES, OsText, OsTexts, difference

NAMES = ("node1", "node2")


def texts(**files: str | OsText) -> OsTexts:
    return OsTexts(
        files=tuple(
            one if isinstance(one, OsText) else OsText(path=path, mode=0o755, text=one)
            for path, one in files.items()
        )
    )


def test_a_changed_line_is_a_unified_diff_with_nodes_and_file() -> None:
    lines = difference(texts(create="a\nb\nc\n"), texts(create="a\nB\nc\n"), NAMES)
    assert lines == [
        "--- node1:create",
        "+++ node2:create",
        "@@ -1,3 +1,3 @@",
        " a",
        "-b",
        "+B",
        " c",
    ]


def test_what_is_alike_is_not_shown() -> None:
    assert difference(texts(create="a\n"), texts(create="a\n"), NAMES) == []


def test_a_file_on_one_node_alone_a_mode_and_a_line_end_are_said() -> None:
    usual = texts(a="x\n", c=OsText(path="c", mode=0o755, text="x\n"), d="x\n")
    other = texts(b="x\n", c=OsText(path="c", mode=0o644, text="x\n"), d="x")
    assert difference(usual, other, NAMES) == [
        "a: on node1 and not on node2",
        "b: on node2 and not on node1",
        "c: mode 0755 on node1, 0644 on node2",
        "--- node1:d",
        "+++ node2:d",
        "@@ -1 +1 @@",
        "-x",
        "+x (without a line end)",
    ]


def test_what_may_not_be_shown_is_said_to_differ() -> None:
    secret = OsText(path="key", mode=0o600, note="not everybody on its node may read it")
    assert difference(texts(key=secret), texts(key=secret), NAMES) == [
        "key: differs, and is not shown: not everybody on its node may read it"
    ]


def test_it_is_bounded_and_harmless_to_a_terminal() -> None:
    many = "".join(f"{number}\n" for number in range(5000))
    lines = difference(texts(create=many), texts(create="\033[2J" + "x" * 5000 + "\n"), NAMES)
    assert len(lines) == MAX_LINES + 1
    assert "lines more" in lines[-1]
    shown = difference(texts(create="a\n"), texts(create="\033[2J" + "x" * 5000 + "\n"), NAMES)
    assert "\033" not in "".join(shown)
    assert max(map(len, shown)) == 500
