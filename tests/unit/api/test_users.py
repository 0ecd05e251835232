"""The file of users."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.api.caller import Caller, Rights
from gantry.api.users import Users, hashed, read
from gantry.model.errors import Rejected


def test_lines_are_users_and_comments_are_not() -> None:
    users = read("# x\n\n ann $argon2id$abc write\nbob $argon2id$def read\n", "users")
    assert {name: user.rights for name, user in users.items()} == {"ann": "write", "bob": "read"}


@pytest.mark.parametrize("line", ["ann", "ann cleartext read", "ann $argon2id$x admin", "a b c d"])
def test_a_line_that_is_no_user_is_told_with_its_number(line: str) -> None:
    with pytest.raises(Rejected, match="users, line 2"):
        read("# first\n" + line, "users")


async def test_a_broken_file_keeps_the_users_of_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann {hashed('pw')} read\n")
    users = Users(path)
    assert await users.caller("ann", "pw") == Caller("ann", Rights.READ)
    path.write_text("nonsense nonsense\n")
    assert await users.caller("ann", "pw") == Caller("ann", Rights.READ)
    assert "line 1" in caplog.text
    assert "pw" not in caplog.text


async def test_what_was_right_is_not_right_for_another_name(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann {hashed('pw')} write\nbob {hashed('other')} read\n")
    users = Users(path)
    assert await users.caller("ann", "pw") is not None
    assert await users.caller("bob", "pw") is None
    assert await users.caller("nobody", "pw") is None
    assert await users.caller("", "") is None


async def test_without_a_file_there_is_nobody(tmp_path: Path) -> None:
    assert await Users(tmp_path / "users").caller("ann", "pw") is None
