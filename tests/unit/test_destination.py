# SPDX-License-Identifier: LGPL-2.1-or-later
"""The value of --host and --remote-command, and the command line of ssh."""

import shlex
from argparse import ArgumentTypeError

import pytest

from virtlayer.client.arguments import build_parser
from virtlayer.client.main import main
from virtlayer.client.remote.destination import Destination, destination, program_there
from virtlayer.client.run_arguments import machine_options
from virtlayer.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", Destination("web")),
        ("me@web.example", Destination("web.example", "me")),
        ("me@example.org@web:2222", Destination("web", "me@example.org", 2222)),
        ("EXAMPLE\\me@web", Destination("web", "EXAMPLE\\me")),
        ("192.0.2.1:22", Destination("192.0.2.1", "", 22)),
        ("2001:db8::1", Destination("2001:db8::1")),
        ("[2001:db8::1]", Destination("2001:db8::1")),
        ("me@[fe80::1%eth0]:22", Destination("fe80::1%eth0", "me", 22)),
    ],
)
def test_destination_is_parsed(text: str, expected: Destination) -> None:
    assert destination(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-oProxyCommand=touch x",
            "me@-x",
            "-x@web",
            "@web",
            "me@",
            "web:",
            "web:0",
            "web:65536",
        ),
        *(
            "web:ssh",
            "[::1",
            "[::1]22",
            "[]:22",
            "[::1]:",
            "two words",
            "a\nb",
            "a\x85b",
            "web:²",
            "[-x]",
        ),
        *("ssh://web", "ssh://-x@web", "x/-y", "a;b", "a`b", "a$b", "a|b@web", "'a'@web", "[1;a]"),
    ],
)
def test_invalid_destination_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        destination(text)


def test_refused_destination_is_an_error_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["images", "--host=-oProxyCommand=x"]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == (
        'virtlayer: -H/--host: "-oProxyCommand=x" is not a valid name of a host or user.'
    )


def test_host_may_stand_before_and_after_the_command() -> None:
    for words in (["-H", "web", "images"], ["images", "-Hweb"], ["images", "--host=web"]):
        assert build_parser().parse_args(words).host == Destination("web")
    assert build_parser().parse_args(["images"]).host is None


def test_kernel_of_another_host_needs_an_absolute_path() -> None:
    for path, is_valid in (("/boot/vmlinuz", True), ("./vmlinuz", False), ("debian:13", True)):
        arguments = build_parser().parse_args(["-Hweb", "run", f"--kernel={path}", "app"])
        if is_valid:
            assert machine_options(arguments)["kernel"] == path
            continue
        with pytest.raises(InvalidArgument, match="Name its absolute path"):
            machine_options(arguments)


def test_remote_command_requires_a_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["images", "--remote-command=x"]) == 2
    assert capsys.readouterr().err == "virtlayer: --remote-command requires --host.\n"


@pytest.mark.parametrize("text", ["", " ", "'open"])
def test_invalid_remote_command_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        program_there(text)


def test_ssh_gets_one_destination_and_one_quoted_command() -> None:
    program = program_there("sudo '/opt/my $(dir)/virtlayer'")
    command = Destination("web", "me", 2222).ssh_command(program, session=True)
    assert command[0] == "ssh"
    assert command[-3:-1] == ["--", "me@web"]
    assert "-p2222" in command
    there = ["sudo", "/opt/my $(dir)/virtlayer", "--user", "--bridge"]
    assert shlex.split(command[-1]) == there
    assert command[-1] == "sudo '/opt/my $(dir)/virtlayer' --user --bridge"
    assert Destination("web").ssh_command(None, session=False)[-2:] == ["web", "virtlayer --bridge"]


def test_user_is_shown_how_to_log_in() -> None:
    assert Destination("web").ssh_login == "ssh web"
    assert Destination("web", "me", 2222).ssh_login == "ssh -p2222 me@web"
