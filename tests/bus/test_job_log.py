# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer job log`` with a real journal, in a mount namespace of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bus.daemon import environment, virtlayerd
from tests.support.bus_daemon import Bus
from tests.support.command import COMMAND

_JOURNAL = """\
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal
/lib/systemd/systemd-journald &
until [ -S /run/systemd/journal/stdout ]; do sleep 0.05; done
echo ready
read -r _
kill $!
wait
"""


@pytest.fixture
def inside() -> Iterator[tuple[str, ...]]:
    """A command that runs others on a system with a journal."""
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _JOURNAL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as journal:
        assert journal.stdout is not None
        assert journal.stdout.readline() == b"ready\n"
        yield ("nsenter", f"--mount=/proc/{journal.pid}/ns/mnt")
        journal.communicate(b"\n")


@pytest.mark.root
async def test_the_log_of_a_job_is_its_lines_in_the_journal(
    bus: Bus, tmp_path: Path, inside: tuple[str, ...]
) -> None:
    directory = tmp_path / "home"
    directory.mkdir()
    variables = environment(bus, directory)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*inside, COMMAND, "--user", *arguments],
            env=variables,
            capture_output=True,
            check=False,
            text=True,
        )

    async with virtlayerd(bus, directory, wrapper=(*inside, "systemd-cat")):
        for pool in ("no-such-pool", "another"):
            assert run("prune", pool).returncode == 3
        subprocess.run([*inside, "journalctl", "--sync"], check=False, capture_output=True)
        log = run("job", "log", "1")
        assert log.returncode == 0, log.stderr
        assert 'pool "no-such-pool"' in log.stdout
        assert "another" not in log.stdout
        as_json = run("job", "log", "1", "--json")
        assert '"VIRTLAYER_JOB":"1"' in as_json.stdout
    # The service has ended, and its lines are still there.
    later = run("job", "log", "2")
    assert 'pool "another"' in later.stdout
