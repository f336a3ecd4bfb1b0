# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names that programs and other people's tests find the parts of the page by."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.examples.place import SOURCE, Place

BUTTONS = {"Run": "Run", "Create volume": "Create", "Remove": "Remove"}
"""The actions of an image, and the buttons of their dialogs."""


@pytest.fixture(scope="module")
def images(session: Place) -> Place:
    """Several images, one of whose names begins with another one's."""
    for name in ("debian:13", "debian-slim", "other"):
        session.run("virtlayer", "--user", "pull", SOURCE, "--name", name)
    return session


def the(place: Page | Locator, name: str) -> Locator:
    """The one field that this is the label of, or a part of it: Playwright refuses several."""
    exact = place.get_by_label(name, exact=True)
    expect(exact).to_be_visible()
    expect(place.get_by_label(name)).to_be_visible()
    return exact


def expect_page(page: Page) -> None:
    expect(page.get_by_role("heading", name="Container images", level=1)).to_be_visible()
    for name in ("Pull image", "Prune"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
    for name in ("Images", "Layers", "Machines"):
        expect(page.get_by_role("tab", name=name)).to_be_visible()


def test_the_dialog_for_a_pull(page: Page) -> None:
    expect_page(page)
    page.get_by_role("button", name="Pull image").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Options").click()
    expect(the(dialog, "Verify TLS certificates")).to_be_checked()
    the(dialog, "Pool").select_option("default")
    the(dialog, "Name").fill("missing")
    the(dialog, "Source").fill("missing:1")
    dialog.get_by_role("button", name="Pull").click()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect_page(page)


@pytest.mark.usefixtures("images")
def test_the_actions_of_an_image(page: Page) -> None:
    expect_page(page)
    dialog = page.get_by_role("dialog")
    row = page.get_by_role("row", name=re.compile("debian:13 docker"))
    for action, button in BUTTONS.items():
        row.get_by_role("button", name="Actions").click()
        page.get_by_role("menuitem", name=action).click()
        expect(dialog.get_by_role("button", name=button)).to_be_visible()
        if action != "Remove":
            the(dialog, "Name")
        dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Prune").click()
    expect(dialog.get_by_role("button", name="Prune")).to_be_visible()
    the(dialog, "Pool")
