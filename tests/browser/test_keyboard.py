# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page is used by keys alone, at any size of the window, and without motion."""

from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.rows import actions_of
from tests.examples.place import SOURCE, Place
from tests.support.cockpit import Cockpit
from tests.support.opened_page import opened


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus; every element on the way shows that it has it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not in the tab order")


def test_an_image_is_pulled_and_removed_by_keys(page: Page) -> None:
    opener = page.get_by_role("button", name="Pull image")
    tab_to(page, opener)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Pull image")
    expect(dialog.get_by_label("Source")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(opener).to_be_focused()

    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Source")).to_be_focused()
    page.keyboard.type("docker.io/library/debian:13")
    page.keyboard.press("Enter")
    expect(dialog).not_to_be_visible()
    expect(opener).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="debian:13")).to_be_visible()

    actions = actions_of(page, "debian:13")
    tab_to(page, actions)
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).not_to_be_visible()
    expect(actions).to_be_focused()

    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Create volume")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Remove")).to_be_focused()
    page.keyboard.press("Enter")
    removal = page.get_by_role("dialog")
    expect(removal).to_be_visible()
    page.keyboard.press("Escape")
    expect(removal).not_to_be_visible()
    expect(actions).to_be_focused()

    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    tab_to(page, removal.get_by_role("button", name="Remove"))
    page.keyboard.press("Enter")
    expect(removal).not_to_be_visible()
    expect(actions).not_to_be_visible()
    # The element that had the focus no longer exists: the next Tab begins at the heading, not at
    # the top of Cockpit.
    expect(page.get_by_role("heading", name="Container images")).to_be_focused()


def test_the_tabs_are_changed_by_keys(page: Page) -> None:
    tab_to(page, page.get_by_role("tab", name="Machines"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Machines", selected=True)).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Machines")).to_be_visible()


@pytest.mark.parametrize("tab", ["images", "layers", "machines"])
def test_nothing_is_cut_off_in_a_narrow_window(
    chromium: Browser, web: Cockpit, session: Place, tab: str
) -> None:
    session.run("virtlayer", "--user", "pull", SOURCE)
    # 1280 pixels at 200 %.
    with opened(chromium, web, address=f"#/{tab}", width=640, height=400) as page:
        expect(page.get_by_role("tabpanel")).not_to_be_empty()
        assert page.evaluate(
            "[...document.querySelectorAll('html, body, main')]"
            ".every(part => part.scrollWidth <= part.clientWidth)"
        )
        page.get_by_role("button", name="Pull image").click()
        button = page.get_by_role("dialog").get_by_role("button", name="Pull", exact=True)
        button.scroll_into_view_if_needed()
        expect(button).to_be_in_viewport()


def test_nothing_moves_for_users_who_want_no_motion(page: Page) -> None:
    page.get_by_role("button", name="Pull image").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    moving = page.evaluate(
        "document.getAnimations().filter(one => one.effect.getComputedTiming().duration > 10)"
        ".map(one => `${one.transitionProperty} ${one.effect.target.className}`)"
    )
    assert moving == []


def test_the_document_has_a_title_and_headings_in_order(page: Page) -> None:
    expect(page).to_have_title("Container images")
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("tab", name="Images")).to_be_visible()
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(one => +one.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
