# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of ``virtlayer run``. What podman 5.4 has too, is parsed as there."""

import argparse
from pathlib import Path

import pytest

from virtlayer.client.arguments import build_parser
from virtlayer.client.bus.values import OptionValue, PublishedPorts, SmallNumber
from virtlayer.client.main import main
from virtlayer.client.run_arguments import machine_options
from virtlayer.sizes import GIB, MIB

ALL = "0.0.0.0"  # noqa: S104 -- as podman


def parsed(*words: str) -> argparse.Namespace:
    arguments = build_parser().parse_args(["run", *words])
    assert isinstance(arguments, argparse.Namespace)
    return arguments


def options(*words: str) -> dict[str, OptionValue]:
    return machine_options(parsed(*words))


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["debian:13"], []),
        (["debian:13", "ls", "-la", "/"], ["ls", "-la", "/"]),
        (["-d", "debian:13", "-i", "--rm", "--json"], ["-i", "--rm", "--json"]),
        (["debian:13", "--", "ls"], ["--", "ls"]),
        (["debian:13", "sh", "-c", "x", "--", "--y"], ["sh", "-c", "x", "--", "--y"]),
        (["--", "debian:13", "--", "-i"], ["--", "-i"]),
        (["debian:13", "", "a b", "-1"], ["", "a b", "-1"]),
        (["debian:13", "--no-such=option"], ["--no-such=option"]),
    ],
)
def test_all_words_after_the_image_are_the_command(words: list[str], command: list[str]) -> None:
    arguments = parsed(*words)

    assert (arguments.source, arguments.words) == ("debian:13", command)
    assert machine_options(arguments) == ({"command": command} if command else {})
    assert not arguments.rm


@pytest.mark.parametrize(
    "words",
    [["--", "run", "debian:13", "ls"], ["run", "--", "--", "debian:13", "ls"]],
)
def test_words_that_end_the_options_are_no_command_and_no_image(words: list[str]) -> None:
    arguments = build_parser().parse_args(words)

    assert (arguments.source, arguments.words) == ("debian:13", ["ls"])


def test_short_options_can_be_combined() -> None:
    arguments = parsed("-dit", "-p8080:80", "-m2G", "-eA=1", "-u1000:100", "-w/srv", "i")

    assert (arguments.detach, arguments.interactive, arguments.tty) == (True, True, True)
    assert machine_options(arguments) == {
        "memory": 2 * GIB,
        "publish": PublishedPorts(((ALL, 8080, 80, "tcp"),)),
        "environment": ["A=1"],
        "user": "1000:100",
        "working-directory": "/srv",
        "tty": True,
        "interactive": True,
    }


def test_all_options_of_the_machine(tmp_path: Path) -> None:
    variables = tmp_path / "variables"
    variables.write_text("A=1\nB=2\n")

    given = options(
        *("--rm", "--memory", "512", "--cpus=4", "--type=qemu", "--network", "network:lab"),
        *("-p", "53:53/udp", "--publish=[::1]:81:80", "--kernel=kernels", "--kernel-version=6.12"),
        *("--entrypoint", "/bin/sh", "--env", "B=3", f"--env-file={variables}"),
        *("--volume-size=4G", "image"),
    )

    assert given == {
        "ephemeral": True,
        "memory": 512 * MIB,
        "vcpus": SmallNumber(4),
        "type": "qemu",
        "network": "network:lab",
        "publish": PublishedPorts(((ALL, 53, 53, "udp"), ("::1", 81, 80, "tcp"))),
        "kernel": "kernels",
        "kernel-version": "6.12",
        "entrypoint": ["/bin/sh"],
        "environment": ["A=1", "B=3"],
        "volume-size": 4 * GIB,
    }


def test_no_option_is_sent_without_need() -> None:
    assert options("image") == {}


@pytest.mark.parametrize(
    ("text", "entrypoint"),
    [
        ("/bin/echo", ["/bin/echo"]),
        ("/bin/echo a", ["/bin/echo a"]),
        ('["/bin/sh", "-c"]', ["/bin/sh", "-c"]),
        ("", [""]),
        ("[]", [""]),
        ('["a"', ['["a"']),
        ("7", ["7"]),
        ("[7]", ["[7]"]),
        ("[" * 100_000, ["[" * 100_000]),
    ],
)
def test_an_entrypoint_is_a_program_or_json(text: str, entrypoint: list[str]) -> None:
    assert options("--entrypoint", text, "image") == {"entrypoint": entrypoint}


@pytest.mark.parametrize("text", ["./vmlinuz", "../vmlinuz", "/boot/vmlinuz"])
def test_a_kernel_with_a_path_is_a_file_of_this_host(text: str) -> None:
    assert options("--kernel", text, "image") == {"kernel": str(Path(text).absolute())}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "The following arguments are required: IMAGE|SOURCE."),
        (["-it"], "The following arguments are required: IMAGE|SOURCE."),
        (["--frob", "image"], "Unknown option --frob."),
        (["--privileged", "image"], "Unknown option --privileged."),
        (["--cpus", "1.5", "image"], '--cpus: "1.5" is not a number of CPUs. '),
        (["--cpus", "0", "image"], '--cpus: "0" is not a number of CPUs. '),
        (["-p", "80", "image"], '-p/--publish: "80" has no port of the host. '),
        (["-m", "1", "image"], '-m/--memory: "1" is too little'),
        (["--pull=newer", "image"], '--pull: "newer" is not one of missing, always, never.'),
        (["-v", "/srv:/srv", "image"], "-v is not supported: a machine shares no files with"),
        (["--volume=/srv:/srv", "image"], "--volume is not supported: a machine shares no files"),
        (
            ["--restart", "always", "image"],
            '--restart is not supported: libvirt starts machines; "',
        ),
    ],
)
def test_every_wrong_command_line_has_the_exit_status_125(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["run", *words]) == 125
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"virtlayer: {message}")
