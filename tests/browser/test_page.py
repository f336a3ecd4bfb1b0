# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page opens, and shows what the service has."""

from playwright.sync_api import Page, expect

from tests.examples.place import Place


def test_an_image_that_is_pulled_elsewhere_appears(page: Page, session: Place) -> None:
    expect(page.get_by_role("heading", name="Container images")).to_be_visible()
    session.run("virtlayer", "--user", "pull", "docker://docker.io/library/debian:13")
    expect(page.get_by_text("debian:13").first).to_be_visible()
