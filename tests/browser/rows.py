# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts of the tables, by the names that users see and hear."""

from playwright.sync_api import Locator, Page


def actions_of(page: Page, name: str) -> Locator:
    """The button that opens the menu "Actions" of an image or a machine."""
    row = page.get_by_role("row").filter(has_text=name)
    return row.get_by_role("button", name="Actions").first
