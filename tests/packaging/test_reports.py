# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pytest prints of a run with our conftest.py: logs of a failed test, and what was not tested.

Each test runs a pytest of its own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ordinary_user import CHECKOUT

_WITH_REAL_PARTS = """
import pytest
from pathlib import Path
from tests.support.bus_daemon import session_bus
from tests.support.command import virtlayer
from tests.support.leftovers import shared_by_tests
from tests.support.libvirt_host import private_host
from tests.support.raw_keeper import raw_keeper
from tests.support.virtlayerd import virtlayerd

KEEPER = ("sh", "-c", 'echo "the keeper starts" >&2; exec "$@"', "sh")
MACHINE = (
    "<domain type='qemu'><name>own</name><memory>65536</memory><os><type>hvm</type></os></domain>"
)

@pytest.fixture(scope="module")
def host():
    with shared_by_tests(), private_host() as host:
        yield host

def fail_to_start(host, pool):
    host.define_pool(pool, Path("/nonexistent") / pool)
    with pytest.raises(AssertionError):
        host.virsh("pool-start", pool)

def test_passes(host):
    fail_to_start(host, "before")

async def test_fails(host, tmp_path):
    fail_to_start(host, "during")
    with private_host() as other, session_bus(tmp_path) as bus:
        with raw_keeper(other.uri, inside=KEEPER):
            pass
        description = tmp_path / "own.xml"
        description.write_text(MACHINE)
        other.virsh("create", str(description))
        with virtlayerd(other, bus, tmp_path) as daemon:
            other.start_pool("images")
            pull = ("--user", "pull", "docker://127.0.0.1:1/x", "images")
            await virtlayer(*pull, env=daemon.environment)
    assert host is other
"""


def run_pytest(directory: Path, content: str, *options: str) -> tuple[int, str]:
    """Run a test file; return the exit status and the output."""
    file = directory / "test_it.py"
    file.write_text(content)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", str(CHECKOUT / "pyproject.toml"), "--rootdir", str(directory), *options),
            str(file),
        ],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8"},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("--numprocesses=1",)], ids=["one process", "xdist"])
def test_failed_test_prints_the_logs_written_during_it(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    status, output = run_pytest(tmp_path, _WITH_REAL_PARTS, *options)
    assert (status, "1 failed, 1 passed" in output) == (1, True), output
    for text in (
        r"-- libvirtd: .*/libvirtd\.log --+\n.*cannot open directory '/nonexistent/during'",
        r"-- libvirtd: .*/libvirtd\.log --+\n.*info : libvirt version",
        r"-- machine: .*/own\.log --+\n.*starting up libvirt",
        r"-- keeper: .*/log --+\nthe keeper starts",
        r"-- virtlayerd: .*/log --+\nINFO: Job 1 was started",
    ):
        assert re.search(text, output), (text, output)
    assert "/nonexistent/before" not in output


_MISSES_SOMETHING = """
import pytest
from tests.support.not_tested import not_tested
from tests.support.soak import in_soak

@pytest.mark.parametrize("number", [1, 2])
def test_says_so(number):
    not_tested("the moon: there is no rocket")

def test_skipped():
    pytest.skip("it is day")

@in_soak
def test_for_soak():
    assert False
"""
_SKIP = "test_it.py::test_skipped: it is day"
_ROCKET = "the moon: there is no rocket"
_TITLE = re.compile(r"^=+ (.*?) =+$", re.MULTILINE)


def _summary(output: str) -> dict[str, list[str]]:
    """The lines of each section of a run's output, by its title."""
    _, *parts = _TITLE.split(output)
    texts = (text.strip().splitlines() for text in parts[1::2])
    return dict(zip(parts[::2], texts, strict=True))


@pytest.mark.parametrize("options", [(), ("--numprocesses=2",)], ids=["one process", "xdist"])
def test_summary_lists_what_was_not_tested(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, output = run_pytest(tmp_path, _MISSES_SOMETHING, *options)
    assert (status, "2 passed, 1 skipped" in output) == (0, True), output
    assert _summary(output)["not tested"] == [_SKIP, _ROCKET]


def test_run_fails_if_something_else_than_in_the_list_is_not_tested(tmp_path: Path) -> None:
    options = ("--numprocesses=2", "--not-tested=known.txt")
    known = tmp_path / "known.txt"
    known.write_text(f"# here\n\n{_ROCKET}\nthe sun: it is hot\n")
    status, output = run_pytest(tmp_path, _MISSES_SOMETHING, *options)
    summary = _summary(output)
    assert summary[f"not tested, and missing in {known}: the run fails"] == [_SKIP], output
    assert summary[f"in {known}, but not in this run"] == ["the sun: it is hot"]
    assert status == 1
    known.write_text(f"{_ROCKET}\n{_SKIP}\n")
    status, output = run_pytest(tmp_path, _MISSES_SOMETHING, *options)
    assert status == 0, output


def test_missing_list_is_reported(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, _MISSES_SOMETHING, "--not-tested=none.txt")
    assert (status, "--not-tested: [Errno 2] No such file" in output) == (4, True), output
