# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a run could not test, because this machine lacks something; its summary lists it.

A test calls ``not_tested``; skips count, too. With ``--not-tested=FILE`` a run fails if it lists
something that is not a line of the file.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

_PROPERTY = "not tested"

_said: list[str] = []
"""What the running test has said."""


def not_tested(entry: str) -> None:
    """Let the summary of the run list what the calling test does not test here, and why."""
    _said.append(entry)


def entries_of(report: pytest.TestReport) -> list[str]:
    """What a test has not tested; the report of its teardown has it."""
    return [str(value) for name, value in report.user_properties if name == _PROPERTY]


class NotTested:
    """The plugin that lists it.

    Args:
        file: What may be missing: a line each, and comments. None if anything may.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._found: set[str] = set()
        self._known: set[str] = set()
        if file is not None:
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except OSError as error:
                raise pytest.UsageError(f"--not-tested: {error}") from error
            self._known = {line for line in lines if line and not line.startswith("#")}

    @property
    def _new(self) -> set[str]:
        return set() if self._file is None else self._found - self._known

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "teardown":
            # pytest-xdist transfers these.
            report.user_properties.extend((_PROPERTY, entry) for entry in _said)
            _said.clear()
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._found.update(entries_of(report))
        if not hasattr(report, "wasxfail"):
            self.pytest_collectreport(report)

    def pytest_collectreport(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped:
            assert isinstance(report.longrepr, tuple)
            self._found.add(f"{report.nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._new and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for title, entries in (
            ("not tested", self._found),
            (f"not tested, and missing in {self._file}: the run fails", self._new),
            (f"in {self._file}, but not in this run", self._known - self._found),
        ):
            if entries:
                terminalreporter.section(title)
            for entry in sorted(entries):
                terminalreporter.line(entry)
