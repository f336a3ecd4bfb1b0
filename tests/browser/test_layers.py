# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tab "Layers": shared layers, what a removal frees, keys, zoom, and many images."""

import json
import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.examples.place import Place
from tests.support.cockpit import Cockpit
from tests.support.filled_pool import fill
from tests.support.images import file, image, layer
from tests.support.opened_page import opened

MANY = {
    f"team-{number % 6}/app-{number}:1": [
        (f"base-{number % 3}", 900_000),
        (f"libraries-{number % 6}", 700_000),
        (f"app-{number}", 300_000 + 2_000 * number),
    ]
    for number in range(300)
}
"""Six groups of 50 images, and a pool for them."""


@pytest.fixture(scope="module", autouse=True)
def images(session: Place) -> None:
    """Two images that share a base, and one alone; and a pool with many."""
    base = layer(file("usr/lib/base", os.urandom(3_000_000)))
    for name, content in {
        "shop": [base, layer(file("srv/shop", os.urandom(1_900_000)))],
        "till": [base, layer(file("srv/till", os.urandom(500_000))), layer(file("srv/more"))],
        "alone": [layer(file("srv/alone", os.urandom(2_000_000)))],
    }.items():
        session.registry.store(image(content), f"library/{name}:1")
        session.run("virtlayer", "--user", "pull", f"docker://docker.io/library/{name}:1")
    fill(session.host.pool_directory("many"), MANY)
    session.host.start_pool("many")


@pytest.fixture
def layers(chromium: Browser, web: Cockpit) -> Iterator[Page]:
    """The tab, open."""
    with opened(chromium, web, address="#/layers") as page:
        expect(page.get_by_role("tree", name="Layers of the pool default")).to_be_visible()
        yield page


def item(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem", name=re.compile(name))


def size(count: int) -> str:
    """As the page writes sizes."""
    value = float(count)
    units = ["B", "KiB", "MiB"]
    while value >= 1024:
        value /= 1024
        units.pop(0)
    digits = 0 if units[0] == "B" or value >= 100 else 1
    return f"{value:.{digits}f}".removesuffix(".0") + f" {units[0]}"


def test_a_shared_layer_is_drawn_once_and_keys_walk_through_the_tree(layers: Page) -> None:
    shared = item(layers, "shared by 2 images")
    expect(shared).to_have_count(1)
    expect(shared).to_have_accessible_name(
        re.compile(r"^layer sha256:[0-9a-f]{12}…, [\d.]+ MiB, shared by 2 images$")
    )
    expect(item(layers, "^image")).to_have_count(3)
    expect(item(layers, "only of till:1")).to_have_count(2)

    # From the search to the tree, to the largest tree's base, and up to its images.
    layers.get_by_label("Find an image by name").focus()
    layers.keyboard.press("Tab")
    expect(shared).to_be_focused()
    layers.keyboard.press("ArrowRight")
    expect(item(layers, "only of shop:1")).to_be_focused()
    layers.keyboard.press("ArrowDown")
    expect(item(layers, "image shop:1")).to_be_focused()
    expect(layers.get_by_text("needed by till:1")).to_be_visible()
    layers.keyboard.press("ArrowLeft")
    layers.keyboard.press("ArrowLeft")
    expect(shared).to_be_focused()
    layers.keyboard.press("t")
    expect(item(layers, "image till:1")).to_be_focused()

    # Only what is backed by a layer, and back.
    layers.keyboard.press("Home")
    layers.keyboard.press("Enter")
    expect(item(layers, "image alone")).to_have_count(0)
    expect(shared).to_be_focused()
    layers.keyboard.press("Escape")
    expect(item(layers, "image alone")).to_be_visible()
    expect(shared).to_be_focused()


def test_pointing_at_an_image_shows_what_its_removal_frees(layers: Page, session: Place) -> None:
    item(layers, "image till:1").hover()
    text = layers.get_by_text("Its removal would free").text_content()
    deleted = layers.locator(".layers-deleted")
    expect(deleted).to_have_count(2)
    expect(layers.locator(".layers-kept")).to_have_count(1)
    expect(layers.get_by_text("needed by shop:1")).to_be_visible()

    removed = json.loads(session.run("virtlayer", "--user", "--json", "remove", "till:1").stdout)
    assert text == f"Its removal would free {size(removed['bytes_freed'])}: 2 layers."
    expect(item(layers, "image till:1")).to_have_count(0)
    expect(item(layers, "shared by")).to_have_count(0)


def test_a_volume_is_on_its_image_and_prevents_its_removal(layers: Page, session: Place) -> None:
    session.run("virtlayer", "--user", "create-volume", "shop:1", "data.qcow2")
    expect(item(layers, "^volume data.qcow2")).to_be_visible()
    item(layers, "image shop:1").click()
    expect(layers.get_by_text("Remove first: data.qcow2.")).to_be_visible()
    layers.get_by_role("button", name="Remove").click()
    expect(layers.get_by_role("dialog")).to_contain_text("shop:1")
    layers.get_by_role("button", name="Cancel").click()
    session.run("virtlayer", "--user", "remove-volume", "data.qcow2")


def test_300_images_are_grouped_opened_and_found(layers: Page, session: Place) -> None:
    layers.get_by_label("Pool", exact=True).select_option("Pool many")
    expect(item(layers, "shared by 100 images")).to_have_count(3)
    expect(item(layers, "shared by 50 images")).to_have_count(6)
    expect(item(layers, "^image")).to_have_count(6 * 20)
    rest = item(layers, "^and 30 more$")
    expect(rest).to_have_count(6)
    rest.first.click()
    expect(item(layers, "^image")).to_have_count(7 * 20 + 10)
    expect(rest).to_have_count(5)

    layers.get_by_label("Find an image by name").fill("app-299")
    expect(item(layers, "^image")).to_have_count(1)
    expect(layers.get_by_text("1 of 300")).to_be_visible()
    item(layers, "^image").hover()
    expect(layers.get_by_text("and 44 more")).to_be_visible()
    text = layers.get_by_text("Its removal would free").text_content()
    remove = ("virtlayer", "--user", "--json", "remove", "team-5/app-299:1", "many")
    removed = json.loads(session.run(*remove).stdout)
    assert text == f"Its removal would free {size(removed['bytes_freed'])}: 1 layer."
