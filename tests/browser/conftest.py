# SPDX-License-Identifier: LGPL-2.1-or-later
"""A session with images and a pool, Cockpit, and a page in Chromium, for the tests of a file."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.examples.place import Place, place
from tests.support.cockpit import Cockpit, browser, cockpit


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("session")) as running:
        yield running


@pytest.fixture(scope="module")
def web(session: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cockpit]:
    with cockpit(tmp_path_factory.mktemp("cockpit"), session.environment) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def page(chromium: Browser, web: Cockpit) -> Iterator[Page]:
    """The page, open. A message of its console that is an error fails the test."""
    errors: list[str] = []
    opened = chromium.new_page(viewport={"width": 1280, "height": 800})
    opened.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(web.address)
    yield opened
    opened.close()
    assert errors == []
