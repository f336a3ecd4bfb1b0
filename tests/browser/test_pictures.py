# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/cockpit.md shows the pictures that pictures.py draws."""

from tests.browser.pictures import DOCS

LARGEST = 150_000
"""Bytes of a picture, which everybody who clones the repository has to download."""


def test_the_document_shows_each_picture_and_none_is_large() -> None:
    text = (DOCS / "cockpit.md").read_text()
    pictures = list(DOCS.glob("cockpit-*.png"))
    assert pictures
    for path in pictures:
        assert f"]({path.name})" in text
        assert path.stat().st_size <= LARGEST
