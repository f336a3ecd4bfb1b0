# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a machine starts: podman's rules for the config of an image and the options of a caller.

The expected values are those of podman 5.4 with images of the same config.
"""

import json
from typing import Any

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.service.machines.startup import Startup, StartupOptions, startup_of

SECRET = "swordfish-2kd8"


def started(options: StartupOptions | None = None, **config: object) -> Startup:
    return startup_of(json.dumps({"config": config}), options or StartupOptions())


IMAGE: dict[str, Any] = {"Entrypoint": ["/entry", "-e"], "Cmd": ["cmd", "-c"]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("/entry", "-e", "cmd", "-c")),
        ({"command": ("x", "y")}, ("/entry", "-e", "x", "y")),
        ({"entrypoint": ("/other",)}, ("/other",)),
        ({"entrypoint": ("/other", "-o"), "command": ("x",)}, ("/other", "-o", "x")),
        ({"entrypoint": ("",), "command": ("x",)}, ("x",)),
        ({"entrypoint": (), "command": ("x",)}, ("x",)),
        ({"command": ("x", "", " ")}, ("/entry", "-e", "x", "", " ")),
    ],
)
def test_entrypoint_replaces_both_and_command_only_the_command(
    options: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert started(StartupOptions(**options), **IMAGE).arguments == expected


def test_variables_of_the_caller_replace_those_of_the_image() -> None:
    options = StartupOptions(environment=("B=2=2", "NEW=", "NEW=x y"))
    found = started(options, **IMAGE, Env=["A=1", "B=1", "odd.name=x"])
    assert found.environment == ("A=1", "B=2=2", "odd.name=x", "NEW=x y")


@pytest.mark.parametrize(
    ("image", "option", "expected"),
    [
        (None, "", ""),
        ("root", "", "root"),
        ("0", "", "0"),
        ("me:us", "", "me:us"),
        ("me", "7:8", "7:8"),
        ("me", "root", "root"),
        ("", "0:5", "0:5"),
    ],
)
def test_user_of_the_caller_replaces_that_of_the_image(
    image: str | None, option: str, expected: str
) -> None:
    assert started(StartupOptions(user=option), **IMAGE, User=image).user == expected


@pytest.mark.parametrize(
    ("image", "option", "expected"),
    [(None, "", "/"), ("/w", "", "/w"), ("w", "", "/w"), ("/w", "/other dir", "/other dir")],
)
def test_directory_of_the_caller_replaces_that_of_the_image(
    image: str | None, option: str, expected: str
) -> None:
    options = StartupOptions(working_directory=option)
    assert started(options, **IMAGE, WorkingDir=image).directory == expected


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["/sbin/init"], ("/sbin/init",)),
        (["/usr/sbin/init", "x"], ("/usr/sbin/init", "x")),
        (["/usr/local/sbin/init"], ("/usr/local/sbin/init",)),
        (["/lib/systemd/systemd"], ("/lib/systemd/systemd",)),
        (["systemd"], ("systemd",)),
        (["/bin/sh", "-c", "/sbin/init"], ("/sbin/init",)),
    ],
)
def test_command_that_is_an_init_becomes_process_1(command: list[str], program: Any) -> None:
    for found in (started(Cmd=command), started(Entrypoint=command[:1], Cmd=command[1:])):
        assert (found.is_init, found.arguments) == (True, program)


@pytest.mark.parametrize(
    "command",
    [
        ["/init"],
        ["init"],
        ["/bin/sh"],
        ["/bin/sh", "-c", "exec /sbin/init"],
        ["tini", "/sbin/init"],
    ],
)
def test_other_commands_are_children_of_our_init(command: list[str]) -> None:
    found = started(Cmd=command)
    assert (found.is_init, found.arguments) == (False, tuple(command))


def test_init_of_another_user_is_a_child_of_our_init() -> None:
    assert not started(Cmd=["/sbin/init"], User="me").is_init
    assert started(Cmd=["/sbin/init"], User="root").is_init


def test_without_a_command_the_init_of_the_image_is_started() -> None:
    found = started()
    assert found.arguments == ()
    with_init = found.with_init("/usr/lib/systemd/systemd", "demo")
    assert (with_init.arguments, with_init.is_init) == (("/usr/lib/systemd/systemd",), True)
    other = started(Cmd=["/bin/sh"])
    assert other.with_init("/sbin/init", "demo") == other


def test_image_without_command_and_init_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r'"demo".*nothing to start.*"command"'):
        started().with_init(None, "demo")
    with pytest.raises(InvalidArgument, match="empty name"):
        started(Cmd=[""])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, 15),
        ("SIGTERM", 15),
        ("term", 15),
        ("SigQuit", 3),
        ("9", 9),
        ("SIGRTMIN+3", 37),
        ("RTMIN", 34),
        ("SIGRTMAX-1", 63),
        ("RTMAX", 64),
        ("37", 37),
        ("SIGCLD", 17),
        ("POLL", 29),
    ],
)
def test_stop_signal_has_a_name_or_number(text: str | None, number: int) -> None:
    assert started(**IMAGE, StopSignal=text).stop_signal == number


@pytest.mark.parametrize(
    "text", ["SIGNONE", "0", "65", "-1", "15x", "RTMIN+31", "RTMAX-31", "\uff11\uff15", "_DFL"]
)
def test_unknown_stop_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="StopSignal"):
        started(**IMAGE, StopSignal=text)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["NUL", "half of a surrogate pair"])
@pytest.mark.parametrize(
    "option", ["command", "entrypoint", "environment", "user", "working_directory"]
)
def test_text_that_no_program_can_have_is_refused(option: str, text: str) -> None:
    values: dict[str, Any] = {
        "environment": (f"A={text}",),
        "user": text,
        "working_directory": f"/{text}",
    }
    with pytest.raises(InvalidArgument, match=f'"{option.replace("_", "-")}".*(NUL|Unicode)'):
        StartupOptions(**{option: values.get(option, (text,))})


@pytest.mark.parametrize("variable", ["A", "", "=", "=x", SECRET])
def test_variable_without_name_or_equals_sign_is_refused(variable: str) -> None:
    for make in (
        lambda: StartupOptions(environment=(variable,)),
        lambda: started(**IMAGE, Env=[variable]),
    ):
        with pytest.raises(InvalidArgument, match="NAME=VALUE") as caught:
            make()
        assert SECRET not in str(caught.value)


def test_values_of_variables_are_not_shown() -> None:
    options = StartupOptions(environment=(f"A={SECRET}",))
    assert SECRET not in repr(options)
    assert SECRET not in repr(started(options, **IMAGE))
    with pytest.raises(InvalidArgument) as caught:
        StartupOptions(environment=(f"A={SECRET}\0",))
    assert SECRET not in str(caught.value)


def test_relative_working_directory_of_a_caller_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='"working-directory"'):
        StartupOptions(working_directory="w")
