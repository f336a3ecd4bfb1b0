# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls through the page: progress, cancelling, failures, credentials."""

from playwright.sync_api import Page, expect

from tests.examples.place import SOURCE, Place


def test_an_image_is_pulled_by_keys_alone(page: Page, session: Place) -> None:
    session.run("virtlayer", "--user", "pull", SOURCE, "--name", "first")
    page.get_by_role("button", name="Pull image").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    source = dialog.get_by_label("Source")
    source.focus()
    page.keyboard.type("debian:13")
    offered = dialog.locator("datalist option").evaluate_all("all => all.map(one => one.value)")
    assert SOURCE in offered
    expect(dialog.get_by_label("Name")).to_have_attribute("placeholder", "debian:13")
    page.keyboard.press("Enter")
    expect(dialog).not_to_be_visible()
    expect(page.get_by_text("debian:13 was pulled into pool default")).to_be_visible()
