"""What nobody may read does not leave the master with a job."""

from __future__ import annotations

from gantry.api import redaction

URL = "https://me:password@images.example.com/a?signature=x"
SHOWN = "https://images.example.com/a"


def test_private_parameters_are_shown_by_name() -> None:
    given = {"OP_ID": "X", "osparams_private": {"os-image": URL}, "osparams": {"motd": "hi"}}
    shown = redaction.operation(given)
    assert shown == {**given, "osparams_private": {"os-image": redaction.REDACTED}}
    assert given["osparams_private"] == {"os-image": URL}, "the master needs it"


def test_an_operation_that_was_refused_for_its_password_does_not_show_it() -> None:
    given = {"OP_ID": "X", "osparams": {"os-image": URL, "motd": "hi"}, "install_image": URL}
    shown = redaction.operation(given)
    assert shown["osparams"] == {"os-image": SHOWN, "motd": "hi"}
    assert shown["install_image"] == SHOWN


def test_nothing_else_is_changed() -> None:
    for given in (
        {"OP_ID": "X", "osparams": {"os-image": "/srv/a@b"}, "install_image": None},
        {"OP_ID": "X", "osparams": {"os-image": f"{SHOWN}?part=1"}},
        # What never was an operation is shown as it came.
        {"OP_ID": "X", "osparams": ["os-image"], "install_image": 7},
    ):
        assert redaction.operation(given) is given
