# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: what it accepts, and its errors, in the process of the command."""

import json

import pytest

from virtlayer.client.arguments import build_parser
from virtlayer.client.main import main
from virtlayer.client.parser import UsageError
from virtlayer.sizes import GIB, MIB

RESERVED = ("exec",)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Run a command line that is wrong; return the lines on standard error."""
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


@pytest.mark.parametrize("text", ["40G", "40g", "40GiB", "40gib", "40GB", "40960M"])
def test_a_size_with_a_unit_is_accepted(text: str) -> None:
    arguments = build_parser().parse_args(["create-volume", "i", "v", "--size", text])
    assert arguments.size == 40 * GIB


def test_a_size_without_a_unit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "create-volume", "i", "v", "--size", "40") == [
        'virtlayer: --size: Invalid size "40": add a unit, for example 40G.',
        'See "virtlayer create-volume --help".',
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [("2048", 2048 * MIB), ("2048M", 2048 * MIB), ("2g", 2 * GIB), ("16", 16 * MIB)],
)
def test_memory_without_a_unit_is_in_mebibytes(text: str, size: int) -> None:
    assert build_parser().parse_args(["xml", "web", "--memory", text]).memory == size


@pytest.mark.parametrize("text", ["1", "15", "1024K"])
def test_too_little_memory_is_refused(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert refused(capsys, "xml", "web", "--memory", text) == [
        f'virtlayer: --memory: "{text}" is too little: the minimum is 16 MiB.',
        'See "virtlayer xml --help".',
    ]


def test_help_shows_the_units(capsys: pytest.CaptureFixture[str]) -> None:
    for command, text in (("xml", "without a unit in MiB"), ("create-volume", "with a unit")):
        with pytest.raises(SystemExit):
            main(["help", command])
        assert text in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["pul"], 'Unknown command "pul". Did you mean "pull"?', ""),
        (["imagse"], 'Unknown command "imagse". Did you mean "images"?', ""),
        (["frobnicate"], 'Unknown command "frobnicate".', ""),
        ([], "The following arguments are required: COMMAND.", ""),
        (["pull"], "The following arguments are required: SOURCE.", " pull"),
        (["pull", "x", "--quiet"], "Unknown option --quiet.", " pull"),
        (
            ["pull", "x", "--plattform=a/b"],
            'Unknown option --plattform. Did you mean "--platform"?',
            " pull",
        ),
        (["cancel", "1", "2"], 'Unexpected argument "2".', " cancel"),
        (["cancel", "x"], 'ID: "x" is not a job ID. See "virtlayer jobs".', " cancel"),
        (
            ["pull", "x", "--format=zip"],
            '--format: "zip" is not one of qcow2, dir, disk.',
            " pull",
        ),
        (["rm"], "The following arguments are required: MACHINE.", " rm"),
        (["stop", "web", "-t", "1m"], '-t/--time: "1m" is not a number of seconds.', " stop"),
        (["pull", "x", "--tls-verify=no"], '--tls-verify: "no" is not true or false.', " pull"),
    ],
)
def test_a_usage_error_is_two_lines(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str, hint: str
) -> None:
    assert refused(capsys, *words) == [f"virtlayer: {message}", f'See "virtlayer{hint} --help".']


def test_a_usage_error_is_json_if_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = refused(capsys, "--json", "pul")
    assert json.loads(line) == {
        "error": "InvalidArgument",
        "message": 'Unknown command "pul". Did you mean "pull"?',
    }


def test_control_characters_of_arguments_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in "".join(refused(capsys, "\x1b[31m"))


@pytest.mark.parametrize("name", RESERVED)
def test_commands_that_do_not_exist_are_refused_with_one_sentence(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    [line] = refused(capsys, name, "--detach", "debian:13")
    assert line.startswith(f'virtlayer: "{name}" is not supported: ')


@pytest.mark.parametrize(("alias", "name"), [("ls", "images"), ("rmi", "remove")])
def test_aliases_run_the_same_command(alias: str, name: str) -> None:
    parser = build_parser()
    arguments = [] if name == "images" else ["debian:13"]
    assert parser.parse_args([alias, *arguments]).run is parser.parse_args([name, *arguments]).run


@pytest.mark.parametrize("words", [["help", "pull"], ["pull", "--help"]])
def test_help_of_a_command(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: virtlayer pull ")


def test_help_of_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "help", "pul")[0].endswith('Did you mean "pull"?')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--creds=:secret"], "--creds has no user"),
        (["--creds=me:"], "The password is empty."),
        (["--creds=me:secret", "--password-stdin"], "not both"),
    ],
)
def test_invalid_credentials_are_refused_without_showing_them(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    [line] = refused(capsys, "inspect", "docker://d/x", *words)
    assert message in line
    assert "secret" not in line


def test_two_ways_to_name_a_user_are_refused() -> None:
    with pytest.raises(UsageError, match="--username: not allowed with argument --creds"):
        build_parser().parse_args(["pull", "x", "--creds=a:b", "--username=a"])
