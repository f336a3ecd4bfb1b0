# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checks of these tests find what they are for."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.axe import axe
from tests.support.cockpit import Cockpit
from tests.support.opened_page import opened


def test_an_error_in_the_console_fails_a_test(chromium: Browser, web: Cockpit) -> None:
    with pytest.raises(AssertionError, match="wrong"), opened(chromium, web) as page:
        page.evaluate("console.error('wrong')")


def test_an_uncaught_error_fails_a_test(chromium: Browser, web: Cockpit) -> None:
    with (
        pytest.raises(AssertionError, match="wrong"),
        opened(chromium, web) as page,
        page.expect_event("pageerror"),
    ):
        page.evaluate("setTimeout(() => { throw new Error('wrong'); })")


def test_a_request_to_another_host_fails_a_test(chromium: Browser, web: Cockpit) -> None:
    with pytest.raises(AssertionError, match=r"127\.0\.0\.2"), opened(chromium, web) as page:
        page.evaluate("fetch('http://127.0.0.2/').catch(() => undefined)")


def test_a_field_without_a_name_fails_a_test(page: Page) -> None:
    expect(page.get_by_role("heading", name="Container images")).to_be_visible()
    page.evaluate("document.body.append(document.createElement('input'))")
    with pytest.raises(AssertionError, match="critical: label: Form elements must have labels"):
        axe(page)


def test_the_theme_and_the_language_are_those_of_the_user(
    dark_page: Page, german_page: Page
) -> None:
    expect(dark_page.locator("html.pf-v6-theme-dark[lang=en]")).to_be_attached()
    expect(german_page.get_by_role("heading", name="Container-Images")).to_be_visible()
    expect(german_page.locator("html[lang=de]")).to_be_attached()
