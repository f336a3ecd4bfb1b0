# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tab "Images": what it shows, and what can be done with an image."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.examples.place import Place
from tests.support.images import file, image, layer

BASE = layer(file("base", b"b" * 100_000))


@pytest.fixture(scope="module")
def images(session: Place) -> Place:
    """Two images that share a layer, pulled in the order of their names."""
    first = image([BASE, layer(file("first", b"1" * 50_000))])
    config = {"config": {"Cmd": ["serve", "it's"], "Env": ["TOKEN=hidden"], "Labels": {}}}
    second = image([BASE, layer(file("second", b"2"))], config=config)
    for content, name in ((first, "shop/first:1"), (second, "shop/second:2")):
        session.registry.store(content, name)
        session.run("virtlayer", "--user", "pull", f"docker://docker.io/{name}")
    return session


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has_text=re.compile(rf"{name}"))


def act(page: Page, name: str, action: str) -> Locator:
    """Choose an action of an image; return its dialog."""
    row(page, name).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name=action).click()
    return page.get_by_role("dialog")


def names(page: Page) -> list[str]:
    return page.locator("td[data-label=Name]").all_inner_texts()


def test_the_first_image_is_pulled_from_the_empty_state(page: Page) -> None:
    expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
    page.get_by_role("button", name="Pull the first image").click()
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.usefixtures("images")
def test_the_table_shows_what_each_image_is(page: Page) -> None:
    first = row(page, "first:1")
    expect(first.locator("td[data-label=Source]")).to_have_text("docker://docker.io/shop/first:1")
    expect(first.locator("td[data-label=Pool]")).to_have_text("default")
    expect(first.locator("td[data-label='Own size']")).to_have_text(re.compile(r"KiB"))
    expect(first.locator("td[data-label='Shared size']")).to_have_text(re.compile(r"MiB"))
    expect(first.locator("time")).to_have_attribute("title", re.compile("2026"))
