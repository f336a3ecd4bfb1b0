# SPDX-License-Identifier: LGPL-2.1-or-later
"""The completions, asked for by the shells themselves."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import COMMAND

# Types a line into bash with bash-completion, and prints what would be offered.
_BASH = """\
source /usr/share/bash-completion/bash_completion
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9 COMP_KEY=9
read -ra COMP_WORDS <<<"$COMP_LINE"
[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_virtlayer
printf '%s\\n' "${COMPREPLY[@]}"
"""
# The same in zsh: its completion system works on a line of a pseudo terminal only, so what it would
# be given is noted down instead.
_ZSH = """\
compdef() { :; }
_arguments() { print -rl -- "$@"; state=$wanted; }
_describe() { print -rl -- "${(@P)2}"; }
compadd() { print -rl -- "$@"; }
wanted=$2 words=(${(z)3})
source "$1"
"""
_STAND_INS = {
    "virsh": "printf ' default\\n other\\n'",
    "virtlayer": """case "$*" in
        *"--host="*) test "$SSH_ASKPASS_REQUIRE" = force || exit 1
            case "$*" in
                "--user --host=web "*"df --quiet") echo there ;;
                "--system --host=me@web:22 --remote-command=/opt/virtlayer images --quiet")
                    echo far:1 ;;
            esac ;;
        *"images --quiet") echo debian:13 ;;
        *"volumes --quiet") echo web.qcow2 ;;
        *"ps --all --quiet") printf 'web\\nold\\n' ;;
        *"ps --quiet") echo web ;;
        *"jobs --quiet --filter state=queued --filter state=running") echo 8 ;;
        *"jobs --quiet") printf '7\\n8\\n' ;;
    esac""",
}

type Complete = Callable[[str], list[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH in which virsh and virtlayer know a few names."""
    for name, script in _STAND_INS.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}


@pytest.fixture(params=["bash", "fish"])
def complete(
    request: pytest.FixtureRequest, installed: Path, environment: dict[str, str]
) -> Complete:
    """Completes a line in one of the shells."""
    share = installed / "usr/share"
    commands: dict[str, Callable[[str], list[str | Path]]] = {
        "bash": lambda line: [
            *("bash", "--norc", "-c", _BASH, "bash"),
            share / "bash-completion/completions/virtlayer",
            line,
        ],
        "fish": lambda line: [
            *("fish", "--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"'),
            share / "fish/vendor_completions.d/virtlayer.fish",
            line,
        ],
    }
    command = commands[str(request.param)]

    def offered(line: str) -> list[str]:
        done = subprocess.run(
            command(line), env=environment, check=True, capture_output=True, text=True
        )
        return [one.split("\t")[0].strip() for one in done.stdout.splitlines() if one.strip()]

    return offered


def test_commands(complete: Complete) -> None:
    assert complete("virtlayer pu") == ["pull"]
    assert {"pull", "inspect", "images", "jobs", "cancel"} <= set(complete("virtlayer "))
    assert complete("virtlayer --user pu") == ["pull"]


def test_options_of_the_command(complete: Complete) -> None:
    # fish finds --no-tls-verify by these letters as well.
    offered = complete("virtlayer pull --tls")
    assert "--tls-verify" in offered
    assert "--size" not in offered
    assert complete("virtlayer images --tls") == []


def test_values_of_an_option(complete: Complete) -> None:
    assert set(complete("virtlayer pull --tls-verify ")) == {"true", "false"}
    assert complete("virtlayer pull --format d") == ["dir", "disk"]
    assert complete("virtlayer images --format j") == ["json"]


def test_values_after_an_equals_sign(complete: Complete) -> None:
    # bash completes what follows the sign, fish the whole word.
    [offered] = complete("virtlayer pull --tls-verify=t")
    assert offered in {"true", "--tls-verify=true"}


def test_sources(complete: Complete) -> None:
    assert "docker://" in complete("virtlayer pull d")


def test_paths_of_sources(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    for line in ("pull oci:", "inspect dir:"):
        # bash completes what follows the colon, fish the whole word.
        [offered] = complete(f"virtlayer {line}{tmp_path}/lay")
        assert offered.rpartition(":")[2].rstrip("/") == f"{tmp_path}/layout"


def test_pools(complete: Complete) -> None:
    assert set(complete("virtlayer images ")) == {"default", "other"}
    assert complete("virtlayer --user images o") == ["other"]


def test_images(complete: Complete) -> None:
    assert complete("virtlayer remove ") == ["debian:13"]
    assert complete("virtlayer rmi ") == ["debian:13"]
    # Not the volumes of remove-volume.
    assert complete("virtlayer remove --json ") == ["debian:13"]
    assert complete("virtlayer xml d") == ["debian:13"]
    assert complete("virtlayer xml w") == ["web.qcow2"]
    assert complete("virtlayer remove-volume ") == ["web.qcow2"]
    assert "debian:13" in complete("virtlayer inspect d")
    assert set(complete("virtlayer remove debian ")) == {"default", "other"}


def test_jobs(complete: Complete) -> None:
    assert set(complete("virtlayer job ")) == {"show", "wait", "log"}
    assert complete("virtlayer job log ") == ["7", "8"]
    assert complete("virtlayer cancel ") == ["8"]


def test_names_on_another_host(complete: Complete) -> None:
    assert complete("virtlayer --user -H web images ") == ["there"]
    assert complete("virtlayer images --user --host web ") == ["there"]
    line = "virtlayer -Hme@web:22 --remote-command /opt/virtlayer remove "
    assert complete(line) == ["far:1"]


def test_names_of_hosts(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host kvm-one kvm-two\n")
    assert {"kvm-one", "kvm-two"} <= set(complete("virtlayer -H kvm"))
    assert {"kvm-one", "kvm-two"} <= set(complete("virtlayer images --host kvm"))


def test_machines(complete: Complete) -> None:
    assert set(complete("virtlayer start ")) == {"web", "old"}
    assert set(complete("virtlayer rm --force web ")) == {"web", "old"}
    assert complete("virtlayer stop ") == ["web"]


def test_bash_finds_the_completion_of_a_clone() -> None:
    # By the directory of the command, as bash-completion looks for it.
    load = "source /usr/share/bash-completion/bash_completion; _comp_load virtlayer; complete -p"
    done = subprocess.run(
        ["bash", "--norc", "-c", load],
        env={"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "complete -F _virtlayer virtlayer" in done.stdout


def test_make_dev_writes_the_completions_that_are_installed(installed: Path) -> None:
    for path in (
        "bash-completion/completions/virtlayer",
        "fish/vendor_completions.d/virtlayer.fish",
    ):
        clone = COMMAND.parent.parent / "share" / path
        assert clone.read_text() == (installed / "usr/share" / path).read_text()


def test_zsh_loads_its_completions(installed: Path) -> None:
    path = installed / "usr/share/zsh/vendor-completions/_virtlayer"
    assert path.read_text().startswith("#compdef virtlayer\n")
    subprocess.run(["zsh", "-n", path], check=True)


def test_zsh_completes_the_same(installed: Path, environment: dict[str, str]) -> None:
    path = installed / "usr/share/zsh/vendor-completions/_virtlayer"

    def told(state: str, line: str) -> str:
        return subprocess.run(
            ["zsh", "-f", "-c", _ZSH, "zsh", path, state, line],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert "pull:pull an image into a pool" in told("command", "virtlayer")
    assert "--tls-verify=[" in told("arguments", "pull")
