# SPDX-License-Identifier: LGPL-2.1-or-later
"""guard, which starts every program: a program ends with its parent, and gains no rights."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.leftovers import children, nothing_left
from tests.support.orphans import adopting, wait_until_only
from tests.support.stalled_files import stalled_files
from tests.support.waiting import until
from virtlayer import programs
from virtlayer.programs import Confinement, Identity, ProgramFailed, run

GUARD = Path(programs.__file__).with_name("guard")
STARTER = f"""
import os, subprocess, sys, time
program = subprocess.Popen(["{GUARD}", str(os.getpid()), "-", "none", "sleep", "1000"])
while b"sleep" not in open(f"/proc/{{program.pid}}/cmdline", "rb").read():
    time.sleep(0.001)
print(program.pid, flush=True)
time.sleep(1000)
"""


def test_program_ends_with_its_parent() -> None:
    with nothing_left(), adopting():
        known = children()
        with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE) as starter:
            assert starter.stdout is not None
            program = int(starter.stdout.readline())
            os.kill(starter.pid, signal.SIGKILL)
        wait_until_only(known)
        assert not Path(f"/proc/{program}").exists()


def test_a_program_whose_starter_has_gone_already_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    another = os.getppid()
    done = subprocess.run([GUARD, str(another), "-", "none", "touch", mark], check=False)
    assert done.returncode == 126
    assert not mark.exists()


async def test_a_program_can_gain_no_rights() -> None:
    status = await run(["cat", "/proc/self/status"])
    assert b"\nNoNewPrivs:\t1\n" in status


@pytest.mark.root
async def test_a_program_has_the_identity_that_it_is_given_and_no_capability() -> None:
    status = (
        await run(["cat", "/proc/self/status"], identity=Identity(65534, 12, (4, 20)))
    ).decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65534"] * 4
    assert fields["Gid"].split() == ["12"] * 4
    assert fields["Groups"].split() == ["4", "20"]
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    alone = (await run(["id", "-G"], identity=Identity(65534, 12, ()))).decode()
    assert alone.split() == ["12"]


@pytest.mark.parametrize("identity", ["", "0", "0:0", "x:0:", "0:0:1,x", "-1:0:", "4294967295:0:"])
def test_invalid_identity_runs_nothing(tmp_path: Path, identity: str) -> None:
    mark = tmp_path / "ran"
    done = subprocess.run(
        [GUARD, str(os.getpid()), identity, "none", "touch", mark], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (126, b"identity: Invalid argument\n")
    assert not mark.exists()


async def test_a_program_that_cannot_be_run_is_named() -> None:
    with pytest.raises(ProgramFailed, match="no-such-program: No such file") as caught:
        await run(["no-such-program"])
    assert caught.value.returncode == 127


@pytest.mark.root
async def test_program_that_the_kernel_does_not_end_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a file system of FUSE, in a way that no signal interrupts."""
    monkeypatch.setattr(programs, "_KILL_SECONDS", 0.2)
    with stalled_files(tmp_path) as stalled:
        async with programs.running(["cat", stalled.file]) as program:
            await asyncio.to_thread(stalled.asked.wait)
        assert Path(f"/proc/{program.pid}").exists()
    await until(lambda: program.returncode is not None)
    assert program.returncode == -signal.SIGKILL


# Python would list directories, which it may not there.
_TAKEN_OVER = r"""
my $child = fork;
exit 0 if defined $child and $child == 0;
printf STDERR "fork %d\n", defined $child ? 0 : $!;
printf STDERR "signal %d\n", kill(9, $ARGV[0]) ? 0 : $!;
socket(my $tcp, 2, 1, 0);
printf STDERR "tcp %d\n", connect($tcp, pack("SnNx8", 2, 9, 0x7f000001)) ? 0 : $!;
"""


async def test_a_program_of_qemus_that_is_taken_over_leaves_no_process(tmp_path: Path) -> None:
    """Nor does it end those of other jobs, which have the same user."""
    nobody = Identity(65534, 65534, ()) if os.geteuid() == 0 else None
    tmp_path.chmod(0o777)
    with nothing_left():
        async with (
            programs.running(["sleep", "1000"], identity=nobody) as other,
            programs.running(
                ["perl", "-e", _TAKEN_OVER, str(other.pid)],
                env={"PERL_BADLANG": "0"},
                cwd=tmp_path,
                identity=nobody,
                confinement=Confinement.WORKING_DIRECTORY,
            ) as program,
        ):
            await program.check()
            found = dict(line.split() for line in program.stderr_tail.splitlines())
            assert other.returncode is None
    assert found == {"fork": "1", "signal": "1", "tcp": "13"}


async def test_program_in_its_working_directory_flushes_nothing(tmp_path: Path) -> None:
    # Its output is /dev/null, which the kernel does not flush.
    for call in ("fsync", "fdatasync"):
        flushing = ["dd", "if=/dev/null", f"conv={call}", "status=none"]
        async with programs.running(
            flushing, cwd=tmp_path, confinement=Confinement.WORKING_DIRECTORY
        ) as program:
            await program.check()
        async with programs.running(flushing, cwd=tmp_path) as program:
            with pytest.raises(ProgramFailed, match="Invalid argument"):
                await program.check()


async def test_the_end_of_a_killed_program_can_be_waited_for() -> None:
    async with programs.running(["sleep", "1000"]) as program:
        # As kill() does where standard error is still open.
        program._drain.cancel()
        os.kill(program.pid, signal.SIGKILL)
        assert await program.wait() == -signal.SIGKILL
