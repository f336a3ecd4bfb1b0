# SPDX-License-Identifier: LGPL-2.1-or-later
"""Journal fields, priorities and catalog identifiers, and the fallback to standard error."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.privileges import as_root
from virtlayer import journal

_CATALOG = Path(__file__).parent.parent.parent / "systemd" / "virtlayer.catalog"

# journald's socket has a fixed place: a mount namespace of its own has another one there.
_LOG_ONCE = """
import logging, os, pathlib, socket, sys
from virtlayer import journal
place = pathlib.Path("/run/systemd/journal/socket")
place.parent.mkdir(parents=True)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
    journald.bind(str(place))
    status = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    journal.configure_logging("virtlayerd")
    fields = journal.fields(journal.JOB_ENDED, job=7, pool="default", error="")
    logging.getLogger("virtlayer.x").warning("Job %d: over", 7, extra=fields)
    sys.stdout.buffer.write(journald.recv(65536))
"""


def test_the_journal_gets_fields() -> None:
    done = subprocess.run(
        as_root(
            *("unshare", "--mount", "sh", "-c"),
            'mount -t tmpfs tmpfs /run && exec "$0" -c "$1"',
            *(sys.executable, _LOG_ONCE),
        ),
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    assert "MESSAGE=Job 7: over" in lines
    assert f"MESSAGE_ID={journal.JOB_ENDED}" in lines
    assert "PRIORITY=4" in lines
    assert "VIRTLAYER_JOB=7" in lines
    assert "VIRTLAYER_POOL=default" in lines
    assert not [line for line in lines if line.startswith("VIRTLAYER_ERROR")]
    assert done.stderr == b""


def test_without_a_journal_it_is_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    code = (
        "import logging; from virtlayer import journal; journal.configure_logging('virtlayerd');"
        "logging.getLogger().info('Job 7: over', extra=journal.fields(job=7))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"INFO: Job 7: over\n"


def test_every_identifier_is_in_the_catalog() -> None:
    listed = re.findall(r"^-- ([0-9a-f]{32})$", _CATALOG.read_text(), re.MULTILINE)
    assert listed == [journal.JOB_STARTED, journal.JOB_ENDED]


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 90.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": str(os.getpid())}, 90.0),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], interval: float | None
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert journal.watchdog_interval() == interval


def test_fields_have_our_prefix() -> None:
    assert journal.fields(job=1, layer="") == {"journal_fields": {"VIRTLAYER_JOB": "1"}}


FORGED = "x\nINFO: Job 7: done\u2028\x1b[31m\ud800"


def test_message_of_another_user_cannot_forge_a_line() -> None:
    code = (
        "import logging; from virtlayer import journal; journal.configure_logging('virtlayerd');"
        f"text = {FORGED!r};"
        "logging.error('pool %s', text);"
        "\ntry: raise ValueError(text)"
        "\nexcept ValueError: logging.exception('defect')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    lines = done.stderr.decode("ascii").splitlines()
    assert lines[0] == r"ERROR: pool x\x0aINFO: Job 7: done\u2028\x1b[31m\ud800"
    assert lines[1] == "ERROR: defect"
    assert lines[2] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in lines[2:])
    assert r"  INFO: Job 7: done" in lines


def test_field_of_another_user_is_one_line() -> None:
    [(name, value)] = journal.fields(pool=FORGED)["journal_fields"].items()  # type: ignore[attr-defined]
    assert (name, value) == ("VIRTLAYER_POOL", r"x\x0aINFO: Job 7: done\u2028\x1b[31m\ud800")
