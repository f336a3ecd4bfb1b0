# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests that are root: ``pytestmark = pytest.mark.root``.

Where root runs pytest, the mark means nothing. Where a user does, the marked tests of a module run
in a pytest of root's, and what that one says of them counts.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from tests.support.not_tested import entries_of, not_tested
from tests.support.ordinary_user import CHECKOUT
from tests.support.privileges import ROOTS_SETTING, as_root

_RECORD = "VIRTLAYER_TESTS_RECORD"
"""Names the file for the outcomes, a line each, in the environment of root's pytest."""


class _Batch:
    """The tests of a module; they run once the first outcome is asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._outcomes: Mapping[str, str] | None = None
        self._not_tested: list[str] = []

    def outcome(self, name: str) -> str:
        """Why a test failed; empty where it passed."""
        if self._outcomes is None:
            self._outcomes, self._output = self._run()
            for entry in self._not_tested:
                not_tested(entry)
        return self._outcomes.get(name, f"root's pytest did not come to it:\n{self._output}")

    def _run(self) -> tuple[Mapping[str, str], str]:
        with tempfile.TemporaryDirectory(prefix="root-tests-") as directory:
            record = Path(directory) / "record"
            record.touch()
            done = subprocess.run(
                as_root(
                    *("env", f"PATH={os.environ['PATH']}", f"{_RECORD}={record}", ROOTS_SETTING),
                    *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
                    *self.names,
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                cwd=CHECKOUT,
            )
            outcomes: dict[str, str] = {}
            for line in record.read_text().splitlines():
                name, failure, entries = json.loads(line)
                self._not_tested += entries
                outcomes[name] = outcomes.get(name, "") + failure
            return outcomes, done.stdout


class _RootTest(pytest.Item):
    """Stands where the test was."""

    batch: _Batch
    original: pytest.Item

    @classmethod
    def in_place_of(cls, original: pytest.Item, batch: _Batch) -> Self:
        """The same test, as root."""
        assert original.parent is not None
        new: Self = cls.from_parent(original.parent, name=original.name, nodeid=original.nodeid)
        new.batch, new.original = batch, original
        batch.names.append(original.nodeid)
        return new

    def runtest(self) -> None:
        failure = self.batch.outcome(self.nodeid)
        if failure:
            pytest.fail(failure, pytrace=False)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.original.reportinfo()


def hand_over(items: list[pytest.Item]) -> None:
    """Replace the marked tests of a run that is not root's."""
    if os.geteuid() == 0:
        return
    batches: dict[Path, _Batch] = {}
    for number, item in enumerate(items):
        if item.get_closest_marker("root"):
            batch = batches.setdefault(item.path, _Batch())
            items[number] = _RootTest.in_place_of(item, batch)


def record(report: pytest.TestReport) -> None:
    """Note an outcome for the run that has asked for it."""
    path = os.environ.get(_RECORD)
    if path is None or (report.passed and report.when != "teardown"):
        return
    # What is not passed is a failure: no test is skipped.
    failure = "" if report.passed else f"{report.when}: {report.longreprtext}\n"
    with Path(path).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps([report.nodeid, failure, entries_of(report)]) + "\n")
