"""Where the kernel for guests is kept, and what fetching it needs."""

from pathlib import Path

from gantry.local import kernel


def test_the_kernel_is_kept_where_the_user_keeps_such_things() -> None:
    assert kernel.cache({"XDG_CACHE_HOME": "/x"}) == Path("/x/gantry/guest-kernel")


def test_programs_that_are_not_in_a_users_path_are_found_all_the_same() -> None:
    found = kernel.environment({"PATH": "/usr/bin:/bin", "https_proxy": "http://proxy.test"})
    assert found["PATH"] == "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    assert found["https_proxy"] == "http://proxy.test"
