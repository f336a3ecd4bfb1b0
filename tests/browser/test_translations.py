# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page speaks the language of the user."""

import re

from playwright.sync_api import Page, expect

from tests.examples.place import SOURCE, Place


def test_a_german_user_reads_german(german_page: Page, session: Place) -> None:
    session.run("virtlayer", "--user", "pull", SOURCE)
    expect(german_page.get_by_role("heading", name="Container-Images")).to_be_visible()
    row = german_page.get_by_role("row").filter(has_text="debian:13")
    expect(row.filter(has_text=re.compile(r"\d,\d MiB"))).to_be_visible()
    row.get_by_role("button", name="Aktionen").click()
    german_page.get_by_role("menuitem", name="Entfernen").click()
    dialog = german_page.get_by_role("dialog", name="debian:13 entfernen?")
    expect(dialog.get_by_role("button", name="Abbrechen")).to_be_visible()
    dialog.get_by_role("button", name="Entfernen").click()
    expect(german_page.get_by_text("debian:13 wurde entfernt.")).to_be_visible()
