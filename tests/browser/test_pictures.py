# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pictures of docs/cockpit.md can be drawn, and are there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser import pictures
from tests.examples.place import REPOSITORY, Place, place
from tests.support.cockpit import Cockpit
from tests.support.machine_host import machine_host

DOCS = REPOSITORY / "docs"
LARGEST = 150_000
"""Bytes of a picture, which all have to download who clone the repository."""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("session"), new_host=machine_host) as running:
        pictures.fill(running)
        yield running


def test_the_pictures_are_drawn(chromium: Browser, web: Cockpit, tmp_path: Path) -> None:
    directory = DOCS if os.environ.get("SCREENSHOTS") == "docs" else tmp_path
    pictures.draw(chromium, web, directory)
    drawn = {path.name for path in directory.glob("cockpit-*.png")}
    assert drawn == {f"cockpit-{name}.png" for name in pictures.PICTURES}


def test_the_document_shows_each_picture_and_none_is_large() -> None:
    text = (DOCS / "cockpit.md").read_text()
    for path in DOCS.glob("cockpit-*.png"):
        assert f"]({path.name})" in text
        assert path.stat().st_size <= LARGEST
