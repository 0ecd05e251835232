"""Asking a definition whether it can be installed with these parameters."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.osdefs.definitions import is_dead, write

from gantry.model.errors import Reason, Rejected
from gantry.model.orders import OsVerify
from gantry.osdefs.search import Finder
from gantry.osdefs.verify import verify


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "srv/ganeti/os"


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[Finder]:
    before = os.umask(0o077)  # an agent's
    yield Finder(tmp_path, ("/srv/ganeti/os",))
    os.umask(before)


def seen(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


async def refusal(finder: Finder, question: OsVerify, **more: float) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await verify(finder, question, {}, **more)
    assert caught.value.hint
    return caught.value


async def test_the_script_gets_its_argument_and_exactly_the_core_variables(
    own: Path, finder: Finder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/should/not/be/seen")
    body = f'(echo "args=$*"; echo "cwd=$(pwd -P)"; echo "umask=$(umask)"; env) > {tmp_path}/seen'
    path = write(own, scripts={"verify": body}, files={"variants.list": "a\nb\n"})
    question = OsVerify(os="deb+b", parameters={"dhcp": "yes"})
    await verify(finder, question, {"key": "hunter2"})
    found = seen(tmp_path / "seen")
    # The shell's own variables.
    found.pop("PWD")
    found.pop("_", None)
    found.pop("OLDPWD", None)
    found.pop("SHLVL", None)
    assert found == {
        "args": "parameters",
        "cwd": str(path),
        "umask": "0077",
        "OS_API_VERSION": "20",
        "OS_NAME": "deb",
        "DEBUG_LEVEL": "0",
        "OS_VARIANT": "b",
        "OSP_DHCP": "yes",
        "OSP_KEY": "hunter2",
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
    }


async def test_a_definition_that_is_not_there_is_refused_with_where_was_looked(
    finder: Finder, own: Path
) -> None:
    error = await refusal(finder, OsVerify(os="deb"))
    assert error.reason is Reason.UNKNOWN
    assert str(own) in error.hint
    await verify(finder, OsVerify(os="deb", required=False))


async def test_an_invalid_definition_is_refused_even_where_none_is_required(
    finder: Finder, own: Path
) -> None:
    (write(own) / "create").chmod(0o644)
    for required in (True, False):
        error = await refusal(finder, OsVerify(os="deb", required=required))
        assert "create in" in error.message


async def test_a_definition_that_is_not_trusted_is_verified_like_others(
    finder: Finder, own: Path
) -> None:
    path = write(own)
    (path / "create").rename(path / "create_untrusted")
    await verify(finder, OsVerify(os="deb", parameters={"dhcp": "yes"}))
    assert "'nope'" in (await refusal(finder, OsVerify(os="deb", parameters={"nope": "1"}))).message


async def test_an_image_is_no_parameter_of_the_definition(finder: Finder, own: Path) -> None:
    write(own)
    await verify(finder, OsVerify(os="deb", parameters={"os-image": "/srv/images/web.img"}))


async def test_the_variant_comes_before_the_parameters(finder: Finder, own: Path) -> None:
    write(own, files={"variants.list": "a\n"})
    error = await refusal(finder, OsVerify(os="deb+x", parameters={"nope": "1"}))
    assert "variant x" in error.message
    await verify(finder, OsVerify(os="deb+x", force_variant=True))


async def test_unknown_parameters_are_refused_with_those_that_are_known(
    finder: Finder, own: Path, tmp_path: Path
) -> None:
    write(own, scripts={"verify": f"touch {tmp_path}/ran"})
    error = await refusal(finder, OsVerify(os="deb", private_parameters={"nope": "1"}))
    assert "'nope'" in error.message
    assert "parameters.list" in error.message
    assert "dhcp, key" in error.hint
    assert "-O nope=default takes away" in error.hint
    assert not (tmp_path / "ran").exists()


async def test_an_old_definition_is_not_asked(finder: Finder, own: Path, tmp_path: Path) -> None:
    touch = {"verify": f"touch {tmp_path}/ran; exit 1"}
    write(own, scripts=touch, files={"ganeti_api_version": "15\n"})
    await verify(finder, OsVerify(os="deb", parameters={"anything": "1"}))
    assert not (tmp_path / "ran").exists()


async def test_what_the_script_says_is_passed_on_without_secrets(finder: Finder, own: Path) -> None:
    write(own, scripts={"verify": 'echo "bad dhcp $OSP_DHCP"; echo "key $OSP_KEY" >&2; exit 3'})
    question = OsVerify(os="deb", parameters={"dhcp": "maybe"})
    with pytest.raises(Rejected) as caught:
        await verify(finder, question, {"key": "hunter2"})
    message = caught.value.message
    assert "exit status 3" in message
    assert "bad dhcp maybe" in message
    assert "key <redacted>" in message
    assert "hunter2" not in message


async def test_a_script_that_cannot_be_started_is_refused(finder: Finder, own: Path) -> None:
    (write(own) / "verify").write_text("#!/no/such/interpreter\n")
    error = await refusal(finder, OsVerify(os="deb"))
    assert f"{own}/deb/verify" in error.message
    assert "No such file" in error.message


async def test_a_script_that_dies_by_a_signal_is_named_with_it(finder: Finder, own: Path) -> None:
    write(own, scripts={"verify": "kill -SEGV $$"})
    assert "signal 11 (SIGSEGV)" in (await refusal(finder, OsVerify(os="deb"))).message


async def test_a_script_that_hangs_is_ended_with_all_its_processes(
    finder: Finder, own: Path, tmp_path: Path
) -> None:
    body = f"echo started; sleep 1000 & echo $! > {tmp_path}/pid; wait"
    write(own, scripts={"verify": body})
    error = await refusal(finder, OsVerify(os="deb"), timeout=0.5)
    assert "did not end within 0.5 s" in error.message
    assert "started" in error.message
    assert is_dead(tmp_path / "pid")


async def test_a_flood_of_output_is_bounded(finder: Finder, own: Path) -> None:
    write(own, scripts={"verify": "head -c 10485760 /dev/zero | tr '\\0' 'x'; exit 1"})
    assert len((await refusal(finder, OsVerify(os="deb"))).message) < 100_000


async def test_input_is_empty(finder: Finder, own: Path) -> None:
    write(own, scripts={"verify": 'test -z "$(cat)"'})
    await asyncio.wait_for(verify(finder, OsVerify(os="deb")), 20)


async def test_a_path_with_an_equals_sign_is_no_assignment(tmp_path: Path) -> None:
    write(tmp_path / "a=b", scripts={"verify": "exit 9"})
    error = await refusal(Finder(tmp_path, ("/a=b",)), OsVerify(os="deb"))
    assert "exit status 9" in error.message
