# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples for callers: each one works as documented, and reports errors."""

from pathlib import Path

import pytest

from tests.examples.place import EXAMPLES, REPOSITORY, SOURCE, Place

_PULLS = ("pull.py", "pull_dasbus.py", "pull.sh", "pull.js")


@pytest.mark.parametrize("example", _PULLS)
def test_pull_ends_in_the_pool(session: Place, example: str) -> None:
    printed = session.run(EXAMPLES / example, SOURCE, "default").stdout

    volumes = session.host.volumes("default")
    assert len(volumes) == 2
    assert str(session.host.pool_directory("default") / "layer-") in printed


@pytest.mark.parametrize("example", _PULLS)
def test_failed_pull_shows_the_cause(session: Place, example: str) -> None:
    ended = session.run(EXAMPLES / example, "docker://docker.io/library/nothing:1", status=1)

    assert "org.virtlayer1.Error.ImageNotFound" in ended.stderr
    assert "docker.io/library/nothing:1" in ended.stderr


@pytest.mark.parametrize("example", ["pull.py", "pull_dasbus.py", "pull.js"])
def test_refused_call_shows_the_cause(session: Place, example: str) -> None:
    ended = session.run(EXAMPLES / example, "docker://UPPER/..", status=1)

    assert "org.virtlayer1.Error.InvalidReference" in ended.stderr


@pytest.mark.parametrize("example", [*_PULLS, "create_volume.py"])
def test_example_without_arguments_prints_its_usage(session: Place, example: str) -> None:
    ended = session.run(EXAMPLES / example, status=2)

    assert ended.stderr.startswith(f"usage: {example} ")
    assert ended.stdout == ""


def test_example_for_a_shell_runs_in_sh(session: Place) -> None:
    assert "layer-" in session.run("sh", EXAMPLES / "pull.sh", SOURCE).stdout


def test_password_goes_through_a_descriptor(session: Place, tmp_path: Path) -> None:
    session.run(EXAMPLES / "pull.py", SOURCE)

    made = session.run(EXAMPLES / "create_volume.py", "debian:13", "web.qcow2", stdin="geheim\n")

    raw = tmp_path / "web.raw"
    session.run("qemu-img", "convert", "-O", "raw", made.stdout.strip(), raw)
    assert session.run("debugfs", "-R", "cat /etc/hostname", raw).stdout == "web\n"
    assert "root:$6$" in session.run("debugfs", "-R", "cat /etc/shadow", raw).stdout


def test_page_for_callers_names_every_example() -> None:
    page = (REPOSITORY / "docs" / "callers.md").read_text(encoding="utf-8")

    programs = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert {name for name in programs if f"(../examples/{name})" not in page} == set()
