# SPDX-License-Identifier: LGPL-2.1-or-later
"""Axe finds nothing serious in any tab, menu or dialog, in both themes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.rows import actions_of
from tests.examples.place import SOURCE, Place
from tests.support.axe import axe
from tests.support.cockpit import Cockpit
from tests.support.opened_page import opened


@pytest.fixture(scope="module", autouse=True)
def _pulled(session: Place) -> None:
    session.run("virtlayer", "--user", "pull", SOURCE)


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def themed(request: pytest.FixtureRequest, chromium: Browser, web: Cockpit) -> Iterator[Page]:
    with opened(chromium, web, dark=request.param) as page:
        yield page


def in_dialog(page: Page, opener: Locator) -> None:
    opener.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading").first).to_be_visible()
    for more in dialog.get_by_role("button", expanded=False).all():
        more.click()
    axe(page)
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()


def test_images_and_their_dialogs(themed: Page) -> None:
    expect(themed.get_by_role("row").filter(has_text="debian:13")).to_be_visible()
    axe(themed)
    for name in ("Pull image", "Prune"):
        in_dialog(themed, themed.get_by_role("button", name=name))
    actions = actions_of(themed, "debian:13")
    actions.click()
    axe(themed)
    names = themed.get_by_role("menuitem").all_inner_texts()
    assert {"Run", "Create volume", "Remove"} <= set(names)
    themed.keyboard.press("Escape")
    for name in names:
        actions.click()
        in_dialog(themed, themed.get_by_role("menuitem", name=name))
    themed.get_by_role("button", name="Details").click()
    axe(themed)


@pytest.mark.parametrize("tab", ["Layers", "Machines", "Configured", "Jobs"])
def test_other_tabs(themed: Page, tab: str) -> None:
    themed.get_by_role("tab", name=tab).click()
    expect(themed.get_by_role("tabpanel", name=tab)).not_to_be_empty()
    axe(themed)


def test_a_failed_pull_is_announced_and_accessible(
    themed: Page, request: pytest.FixtureRequest
) -> None:
    # Failed pulls stay: each theme has its own.
    name = f"missing:{request.node.callspec.id}"
    themed.get_by_role("button", name="Pull image").click()
    themed.get_by_role("dialog").get_by_label("Source").fill(f"docker.io/library/{name}")
    themed.keyboard.press("Enter")
    failure = themed.get_by_role("alert").filter(has_text=name)
    expect(failure.get_by_role("button", name="Try again")).to_be_visible()
    axe(themed)
