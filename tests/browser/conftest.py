# SPDX-License-Identifier: LGPL-2.1-or-later
"""A session with images and a pool, Cockpit, and a page in Chromium, for the tests of a file."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.examples.place import Place, place
from tests.support.cockpit import Cockpit, browser, cockpit
from tests.support.opened_page import opened, write_evidence
from tests.support.waiting import PATIENCE

# Milliseconds for what is to appear: other tests run at the same time.
expect.set_options(timeout=1000 * PATIENCE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a failed test has seen, and name the files."""
    report = yield
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if report.when == "call" and report.failed and directory is not None:
        report.sections.append(("pages", "\n".join(map(str, write_evidence(directory)))))
    return report


@pytest.fixture(autouse=True)
def evidence(tmp_path: Path) -> Path:
    """Where the hook above writes; its name is in the report."""
    return tmp_path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("session")) as running:
        yield running


@pytest.fixture(scope="module")
def web(session: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cockpit]:
    with cockpit(tmp_path_factory.mktemp("cockpit"), session.environment) as running:
        yield running


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One for all files: every page has a profile of its own."""
    with browser() as running:
        yield running


@pytest.fixture
def page(chromium: Browser, web: Cockpit) -> Iterator[Page]:
    """The page, open; an error in its console, or a request to another host, fails the test."""
    with opened(chromium, web) as shown:
        yield shown


@pytest.fixture
def dark_page(chromium: Browser, web: Cockpit) -> Iterator[Page]:
    with opened(chromium, web, dark=True) as shown:
        yield shown


@pytest.fixture
def german_page(chromium: Browser, web: Cockpit) -> Iterator[Page]:
    with opened(chromium, web, language="de-DE") as shown:
        yield shown
