"""What ``hooks.toml`` says of a script, and what is said of a file that is wrong."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.hooks.policy import (
    LIMIT,
    NONE,
    Decision,
    OnUnreachable,
    PolicyError,
    decide,
    denies_unreachable,
)
from gantry.hooks.policy_file import directories, findings, parse
from gantry.model.hook_orders import HookAbout

PRE, OTHER = "instance-add-pre.d", "instance-start-pre.d"
ADD = HookAbout(
    operations=("OP_INSTANCE_CREATE", "OP_INSTANCE_ADD", "instance-add"),
    tags=("prod", "owner:alice"),
    groups=("default",),
    instances=("web1.example.com",),
)


def decided(text: str, script: str = "10-a", directory: str = PRE, **more: Any) -> Decision:
    return decide(parse(text.encode()), directory, script, 1, more.get("about", ADD))


def said(text: str | bytes) -> list[tuple[int, str]]:
    content = text.encode() if isinstance(text, str) else text
    return [(one.line, one.message) for one in findings(content)]


def test_without_a_file_a_script_runs_as_the_interface_says() -> None:
    assert decide(NONE, PRE, "10-a", 2, ADD) == Decision(version=2, timeout=600.0)
    assert parse(b"") == NONE


def test_every_key_is_followed() -> None:
    text = """
    [default]
    timeout = "2m"
    on-unreachable = "deny"
    enabled = true
    version = 2
    run-as = "nobody"
    only = { instances = ["web*"] }
    """
    assert decided(text) == Decision(
        timeout=120.0, version=2, run_as="nobody", on_unreachable=OnUnreachable.DENY
    )


def test_the_closer_one_wins_key_by_key() -> None:
    text = f"""
    [script."{PRE}/10-a"]
    timeout = 4
    [pattern."*/*-a"]
    timeout = 3
    run-as = "early"
    [pattern."*-add-*/*"]
    run-as = "late"
    [directory."{PRE}"]
    timeout = 2
    version = 2
    run-as = "directory"
    [default]
    timeout = 1
    version = 1
    """
    assert decided(text) == Decision(timeout=4.0, version=2, run_as="late")
    assert decided(text, "20-a") == Decision(timeout=3.0, version=2, run_as="late")
    assert decided(text, "20-b") == Decision(timeout=2.0, version=2, run_as="late")
    assert decided(text, "20-b", OTHER) == Decision(timeout=1.0, version=1)


@pytest.mark.parametrize(
    ("value", "seconds"), [("5", 5.0), ("0.5", 0.5), ('"90s"', 90.0), ('"2h"', 7200.0)]
)
def test_a_timeout_is_seconds_or_a_time(value: str, seconds: float) -> None:
    assert decided(f"[default]\ntimeout = {value}").timeout == seconds


def test_a_script_that_is_switched_off_is_skipped_and_may_be_switched_on_again() -> None:
    text = f'[default]\nenabled = false\n[script."{PRE}/20-b"]\nenabled = true'
    assert "switched off" in decided(text, "10-a").skip
    assert decided(text, "20-b").skip == ""


@pytest.mark.parametrize(
    ("only", "missed"),
    [
        ('operations = ["instance-add"]', ""),
        ('operations = ["OP_INSTANCE_C*", "x"]', ""),
        ('operations = "instance-start"', "operations"),
        ('tags = ["owner:*"]', ""),
        ('tags = ["test"]', "tags"),
        ('groups = ["d*t"]', ""),
        ('groups = ["rack2"]', "groups"),
        ('instances = ["web?.example.com"]', ""),
        ('instances = ["web1"]', "instances"),
        ('tags = ["prod"], instances = ["db*"]', "instances"),
        ('instances = ["WEB*"]', "instances"),
    ],
)
def test_conditions(only: str, missed: str) -> None:
    skip = decided(f"[default]\nonly = {{ {only} }}").skip
    assert skip == (f"hooks.toml wants it for other {missed} only" if missed else "")


def test_a_condition_on_what_is_not_there_does_not_hold() -> None:
    text = '[default]\nonly = { instances = ["*"] }'
    assert decided(text, about=HookAbout(operations=("OP_NODE_ADD",))).skip


@pytest.mark.parametrize(
    ("only", "skipped"),
    [
        ('tags = ["prod"]', False),
        ('operations = ["OP_NODE_ADD"], instances = ["x"]', False),
        ('operations = ["OP_NODE_REMOVE"]', True),
    ],
)
def test_where_the_object_is_not_known_what_is_wanted_of_it_does_not_count(
    only: str, skipped: bool
) -> None:
    about = HookAbout(operations=("OP_NODE_ADD",), known=False)
    assert bool(decided(f"[default]\nonly = {{ {only} }}", about=about).skip) is skipped


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("[default]\ntimeout = \n", 2, "it is not TOML: Invalid value"),
        ("[default\n", 1, "it is not TOML"),
        ("[default]\n\n# a comment\ntiemout = 5\n", 4, "no key 'tiemout'; did you mean 'timeout'?"),
        ("[defualt]\n", 1, "no table 'defualt'; did you mean 'default'?"),
        ("default = 1\n", 1, "'default' is a table"),
        ('[default]\ntimeout = "soon"\n', 2, "timeout is 'soon': give seconds"),
        ("[default]\ntimeout = 0\n", 2, "timeout is 0"),
        ("[default]\ntimeout = -1\n", 2, "timeout is -1"),
        ("[default]\ntimeout = true\n", 2, "timeout is True"),
        ("[default]\ntimeout = nan\n", 2, "timeout is nan"),
        ("[default]\ntimeout = 86400\n", 2, "less than 24 hours"),
        ('[default]\nenabled = "no"\n', 2, "give true or false, without quotes"),
        ("[default]\nversion = 3\n", 2, "version is 3: give 1 or 2"),
        ("[default]\nversion = true\n", 2, "version is True"),
        ('[default]\nversion = "2"\n', 2, "version is '2'"),
        ('[default]\non-unreachable = "fail"\n', 2, "give 'ignore' or 'deny'"),
        ("[default]\nrun-as = 0\n", 2, "the name of a user"),
        ('[default]\nrun-as = "--reuid=0"\n', 2, "the name of a user"),
        ("[default]\nonly = 1\n", 2, "only is 1: give a table"),
        ("[default]\nonly = { tag = ['a'] }\n", 2, "only has no 'tag'; did you mean 'tags'?"),
        ("[default]\nonly = { tags = [] }\n", 2, "tags is empty"),
        ("[default]\nonly = { tags = [1] }\n", 2, "give a list of names"),
        ('[directory."instance-ad-pre.d"]\n', 1, "did you mean 'instance-add-pre.d'?"),
        ('[directory."instance-add-pre.d/10-a"]\n', 1, "is no directory"),
        ('[script."instance-add-pre.d"]\n', 1, "write DIRECTORY/NAME"),
        ('[script."nowhere/10-a"]\n', 1, "no operation reads 'nowhere'"),
        ('[pattern."10-*"]\n', 1, "write DIRECTORY/NAME"),
        ("[script]\ntimeout = 4\n", 2, "'timeout' is no table"),
        ('script."x/y".timeout = true', 1, "no operation reads 'x'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, part: str) -> None:
    found = said(text)
    assert [one for one in found if one[0] == line and part in one[1]], found
    with pytest.raises(PolicyError, match=rf"hooks\.toml line {line}: "):
        parse(text.encode())


def test_everything_that_is_wrong_is_found() -> None:
    text = "[default]\ntimeout = 0\nversion = 3\nenabled = 1\nx = 1\n"
    assert [line for line, _ in said(text)] == [2, 3, 4, 5]
    with pytest.raises(PolicyError, match="and 1 more"):
        parse(text.encode())


def test_what_is_no_text_or_too_long_is_refused() -> None:
    assert said(b"[default]\n\xff") == [(2, "it is not UTF-8")]
    assert "longer" in said(b"#" * (LIMIT + 1))[0][1]
    assert said(b"a = " + b"[" * 100_000)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[default]\ntimeout = " + "9" * 5000, "it cannot be read"),
        ("[default]\ntimeout = 0x" + "f" * 5000, "timeout is a number of very many digits"),
        (".".join(["a"] * 30_000) + " = 1", "nested too deeply"),
        ("[default]\nonly." + " . ".join(["a"] * 3_000) + " = 1", "nested too deeply"),
        ("[default]\n" + "a" * 100_000 + " = 1", "there is no key 'aaaa"),
        ("[default]\n" + "\n".join(f"key{n} = 1" for n in range(4_000)), "there is no key 'key0'"),
        ("\n".join(f"[group.g{n}]" for n in range(4_000)), "there is no table 'group'"),
    ],
    ids=lambda text: text[:24],
)
def test_what_is_huge_or_odd_is_refused_soon_and_in_few_words(text: str, part: str) -> None:
    began = time.process_time()
    found = findings(text.encode())
    assert time.process_time() - began < 5, "it takes time by the square of its length"
    assert part in found[0].message
    assert len(found) <= 21
    assert all(len(one.message) < 300 for one in found)
    with pytest.raises(PolicyError):
        parse(text.encode())


def test_what_speaks_of_nothing_is_found_where_it_can_be_known() -> None:
    text = f'[script."{PRE}/10-a"]\nrun-as = "alice"\n[pattern."*/99-*"]\nversion = 2\n'
    found = findings(text.encode(), scripts={PRE: ["20-b"]}, users=["root"])
    assert [(one.line, one.error) for one in found] == [(1, False), (1, True), (3, False)]
    assert findings(text.encode(), scripts={PRE: ["10-a", "99-x"]}, users=["alice"]) == ()


def test_a_directory_without_scripts_may_only_say_what_counts_without_them() -> None:
    """A rule for the other version's directory is followed by no script that it is meant for."""
    text = f'[directory."{PRE}"]\nrun-as = "root"\n'
    there = {"instance-shutdown-pre.d": ["20-b"]}
    [found] = findings(text.encode(), scripts=there, users=["root"])
    assert (found.line, found.error) == (1, False)
    assert f"directory '{PRE}' is about" in found.message
    assert findings(text.encode(), scripts={PRE: ["20-b"]}, users=["root"]) == ()
    counts = f'[directory."{PRE}"]\non-unreachable = "deny"\n'
    assert findings(counts.encode(), scripts=there, users=["root"]) == ()


def test_every_directory_that_is_read_may_be_named() -> None:
    for name in ("instance-shutdown-pre.d", "instance-stop-fail.d", "config-update-post.d"):
        assert name in directories()


@pytest.mark.parametrize(
    ("text", "denies"),
    [
        ("", False),
        ('[default]\non-unreachable = "deny"', True),
        (f'[directory."{PRE}"]\non-unreachable = "deny"', True),
        (f'[directory."{OTHER}"]\non-unreachable = "deny"', False),
        (f'[script."{PRE}/10-a"]\non-unreachable = "deny"', True),
        (f'[script."{OTHER}/10-a"]\non-unreachable = "deny"', False),
        ('[pattern."instance-*-pre.d/*-cmdb"]\non-unreachable = "deny"', True),
        ('[pattern."*/*-cmdb"]\non-unreachable = "deny"', True),
        ('[pattern."node-*/*"]\non-unreachable = "deny"', False),
        ('[default]\non-unreachable = "deny"\nenabled = false', False),
        (
            f'[default]\non-unreachable = "deny"\n[directory."{PRE}"]\non-unreachable = "ignore"',
            False,
        ),
        (f'[script."{PRE}/10-a"]\non-unreachable = "deny"\nenabled = false', False),
        (f'[directory."{PRE}"]\non-unreachable = "deny"\nonly = {{ tags = ["prod"] }}', True),
        (f'[directory."{PRE}"]\non-unreachable = "deny"\nonly = {{ tags = ["test"] }}', False),
    ],
)
def test_whether_a_node_that_does_not_answer_denies(text: str, denies: bool) -> None:
    assert denies_unreachable(parse(text.encode()), PRE, ADD) is denies


KEYS = ["timeout", "enabled", "version", "run-as", "only", "on-unreachable", "other", '"a b"']
VALUES = ["1", "true", '"x"', '"deny"', "[]", "{}", "{ tags = ['a'] }", "nan", "1979-05-27"]
TABLES = ["[default]", "[script]", '[script."instance-add-pre.d/a"]', '[pattern."*/*"]', "[[x]]"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(
    st.sampled_from(TABLES), st.builds("{} = {}".format, st.sampled_from(KEYS),
                                       st.sampled_from(VALUES)), st.text(max_size=5))))  # fmt: skip
def test_any_text_is_a_policy_or_findings(lines: list[str]) -> None:
    text = "\n".join(lines).encode("utf-8", "replace")
    errors = [one for one in findings(text) if one.error]
    try:
        policy = parse(text)
    except PolicyError as error:
        assert error.findings and errors
    else:
        assert not errors
        decide(policy, PRE, "10-a", 1, ADD)
