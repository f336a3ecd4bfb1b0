# SPDX-License-Identifier: LGPL-2.1-or-later
"""Startup parameters from an image's config, and the kernel command line."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from virtlayer.client.cmdline import LIMIT, kernel_command_line
from virtlayer.client.kernels import Kernel, newest_kernel
from virtlayer.client.startup import Startup, parse_startup
from virtlayer.errors import InvalidArgument, NoKernel


def startup(**config: object) -> Startup:
    return parse_startup(json.dumps({"config": config}))


def line(startup: Startup) -> str:
    return kernel_command_line(startup, console="ttyS0")


def script(startup: Startup) -> str:
    """The arguments of the second shell."""
    [printing] = re.findall(r"\$\((printf '[^']*')\)", line(startup))
    return subprocess.run(["sh", "-c", printing], capture_output=True, text=True, check=True).stdout


def test_entrypoint_and_command_are_one() -> None:
    found = startup(Entrypoint=["/a", "b"], Cmd=["c"], Env=["A=b=c", "=x", "odd.name=x", "B"])
    assert found.command == ("/a", "b", "c")
    assert found.environment == (("A", "b=c"), ("B", ""))


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", ("", "")),
        ("root", ("", "")),
        ("0", ("", "")),
        ("me:us", ("me", "us")),
        ("7", ("7", "")),
    ],
)
def test_the_user_and_the_group(user: str, expected: tuple[str, str]) -> None:
    found = startup(User=user)
    assert (found.user, found.group) == expected


@pytest.mark.parametrize("config", ["", "{}", "[]", "null", '{"config": null}', '{"config": 7}'])
def test_without_a_word_an_init_is_started(config: str) -> None:
    assert parse_startup(config) == Startup()


def test_values_of_other_types_are_no_values() -> None:
    assert startup(Cmd="sh", Env=[1], User=7, WorkingDir=None, Entrypoint={}) == Startup()


def test_an_init_without_arguments_is_started_by_the_kernel() -> None:
    assert line(Startup()) == "console=ttyS0 root=/dev/vda rw init=/sbin/init"


def test_an_init_with_arguments_and_environment_replaces_the_shell() -> None:
    found = startup(Entrypoint=["/lib/systemd/systemd"], Cmd=["--unit=x", "", "a b"], Env=["A=b c"])
    assert line(found).startswith('console=ttyS0 root=/dev/vda rw init=/bin/sh -- -c "')
    assert "exec /bin/sh -c $(printf " in line(found)
    assert script(found) == "export 'A=b c';exec /lib/systemd/systemd --unit=x '' 'a b'"


@pytest.mark.parametrize("program", ["/a b/init", "/a=b/init", "/a\tb/init", "/é/init", '/"/init'])
def test_an_init_with_an_unusual_name_is_started_by_the_shell(program: str) -> None:
    found = startup(Cmd=[program])
    assert " init=/bin/sh -- -c " in line(found)
    assert script(found) == f"exec {shlex.quote(program)}"


def test_a_program_is_started_by_the_shell() -> None:
    found = startup(Cmd=["run", "it"], WorkingDir="/w", User="me")
    before, _, argument = line(found).partition(" -- -c ")
    assert before == "console=ttyS0 root=/dev/vda rw panic=-1 init=/bin/sh"
    assert argument.startswith('"')
    assert argument.endswith(';sync;echo o >/proc/sysrq-trigger;sleep 9"')
    assert '"' not in argument[1:-1]
    assert script(found) == "cd /w;exec su -s /bin/sh me -c 'run it'"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("7", "cd /;exec setpriv --reuid=7 --regid=7 --clear-groups -- run"),
        ("7:8", "cd /;exec setpriv --reuid=7 --regid=8 --clear-groups -- run"),
        ("me:us", "cd /;exec setpriv --reuid=me --regid=us --init-groups -- run"),
        ("me: u", "cd /;exec setpriv --reuid=me --regid=' u' --init-groups -- run"),
    ],
)
def test_other_users_are_what_setpriv_makes(user: str, expected: str) -> None:
    assert script(startup(Cmd=["run"], User=user)) == expected


def test_a_command_line_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=str(LIMIT)):
        line(startup(Cmd=["x" * LIMIT]))


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["NUL", "half of a surrogate pair"])
@pytest.mark.parametrize("key", ["Cmd", "Env", "WorkingDir", "User"])
def test_text_that_no_program_can_have_is_refused(key: str, text: str) -> None:
    value = {"Cmd": ["run", text], "Env": [f"A={text}"]}.get(key, text)
    said = r'"(A=)?a\\(x00|ud800)b".*has a NUL or is not valid Unicode'
    with pytest.raises(InvalidArgument, match=said):
        startup(**{key: value})


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_WORDS = st.sampled_from(
    [
        *("", " ", "-x", "root=/dev/sda", "init=/evil", "quiet", "--", "a\n", "\n", '"', "'"),
        *("$(id)", "`id`", "%s", "\\", "\\040", "*", "~", "#", "A=b", "\x1b[31m", "à", "\xa0"),
        *("\r", "\t", "!", "1", ";", "&", "\x7f", ")", "($"),
    ]
)
_ANYTHING = st.one_of(_TEXT, _WORDS, st.lists(_WORDS, max_size=4).map("".join))
# Other names may be the shell's own.
_ENVIRONMENTS = st.dictionaries(st.sampled_from(["GREETING", "root", "init"]), _ANYTHING)


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that shows how it was started."""
    path = tmp_path_factory.mktemp("sbin") / "init"
    path.write_text(
        "#!/usr/bin/python3 -IS\n"
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
    )
    path.chmod(0o755)
    return str(path)


@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox sh"])
@given(arguments=st.lists(_ANYTHING, max_size=4), environment=_ENVIRONMENTS)
def test_every_shell_passes_the_config_to_init(
    init: str, shell: str, arguments: list[str], environment: dict[str, str]
) -> None:
    assume(arguments or environment)
    found = Startup(command=(init, *arguments), environment=tuple(environment.items()))
    # The kernel gives the shell what is between the quotes.
    steps = line(found).partition(" -- -c ")[2][1:-1].replace("/bin/sh", shell)
    done = subprocess.run([*shell.split(), "-c", steps], capture_output=True, check=True)
    shown, its_environment = json.loads(done.stdout)

    assert shown == arguments
    assert {name: its_environment.get(name) for name in environment} == environment


@given(
    command=st.lists(_ANYTHING, min_size=1, max_size=4),
    environment=_ENVIRONMENTS,
    directory=_ANYTHING,
    user=_ANYTHING,
    group=_ANYTHING,
)
def test_the_text_of_an_image_is_a_single_quoted_word_of_the_line(
    command: list[str], environment: dict[str, str], directory: str, user: str, group: str
) -> None:
    found = Startup(
        command=tuple(command),
        environment=tuple(environment.items()),
        directory=directory,
        user=user,
        group=group,
    )
    [before, text, after] = re.split(r"(?<=\$\(printf )('[^']*')(?=\))", line(found))
    [constant_before, _, constant_after] = re.split(
        r"(?<=\$\(printf )('[^']*')(?=\))", line(Startup(command=("run",)))
    )

    assert (before, after) == (constant_before, constant_after)
    assert re.fullmatch(r"'[!#-&(-~]*'", text)


def test_the_newest_kernel_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    with pytest.raises(NoKernel, match="--kernel"):
        newest_kernel(tmp_path)
    for name in ("vmlinuz-6.9.1-amd64", "vmlinuz-6.12.3-amd64", "initrd.img-6.12.3-amd64"):
        (tmp_path / name).touch()
    expected = Kernel(tmp_path / "vmlinuz-6.12.3-amd64", tmp_path / "initrd.img-6.12.3-amd64")
    assert newest_kernel(tmp_path) == expected
    (tmp_path / "vmlinuz-6.13").touch()
    assert newest_kernel(tmp_path) == Kernel(tmp_path / "vmlinuz-6.13", None)
