# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tab "Images": what it shows, and what can be done with an image."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.examples.place import Place
from tests.support.axe import axe
from tests.support.images import Content, directory, file, image, layer

BASE = layer(
    directory("etc"),
    file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
    file("etc/group", b"root:x:0:\n"),
    file("etc/shadow", b"root:*:20000:0:99999:7:::\n", mode=0o640),
)
PASSWORD = "of the new volume"


def shop(version: bytes) -> Content:
    config = {"config": {"Cmd": ["serve", "it's"], "Env": ["TOKEN=of-the-image"]}}
    return image([BASE, layer(file("version", version))], config=config)


def pull(place: Place, content: Content, name: str) -> None:
    place.registry.store(content, name)
    place.run("virtlayer", "--user", "pull", f"docker://docker.io/{name}")


@pytest.fixture(scope="module")
def images(session: Place) -> Place:
    """Two images that share a layer."""
    pull(session, shop(b"1"), "acme/shop:1")
    pull(session, image([BASE, layer(file("more", b"2" * 300_000))]), "acme/cafe:2")
    return session


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("gridcell", name=name, exact=True))


def cell(page: Page, name: str, column: str) -> Locator:
    return row(page, name).locator(f"td[data-label='{column}']")


def act(page: Page, name: str, action: str) -> Locator:
    """Choose an action of an image; return its dialog."""
    row(page, name).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name=action).click()
    return page.get_by_role("dialog")


def press(dialog: Locator, button: str) -> None:
    dialog.get_by_role("button", name=button, exact=True).click()


def test_without_a_pool_the_page_says_how_to_create_one(session: Place, page: Page) -> None:
    session.host.virsh("pool-destroy", "default")
    page.reload()
    expect(page.get_by_role("heading", name="No storage pool for images")).to_be_visible()
    expect(page.get_by_text("virsh -c qemu:///session pool-start default")).to_be_visible()
    axe(page)
    session.host.virsh("pool-start", "default")
    page.reload()
    expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
    axe(page)
    page.get_by_role("button", name="Pull the first image").click()
    expect(page.get_by_role("dialog").get_by_label("Source")).to_be_visible()


@pytest.mark.usefixtures("images")
def test_images_are_listed_searched_and_sorted(page: Page) -> None:
    expect(cell(page, "shop:1", "Source")).to_have_text("docker://docker.io/acme/shop:1")
    expect(cell(page, "shop:1", "Version")).to_have_text(re.compile(r"^1[0-9a-f]{12}$"))
    expect(cell(page, "shop:1", "Pool")).to_have_text("default")
    expect(cell(page, "shop:1", "Own size")).to_have_text(re.compile("KiB$"))
    expect(cell(page, "shop:1", "Shared size")).to_have_text(re.compile("MiB$"))
    expect(cell(page, "shop:1", "Pulled").locator("time")).to_have_attribute(
        "title", re.compile(r"\d\d\d\d")
    )

    names = page.locator("td[data-label=Name]")
    expect(names).to_have_text(["cafe:2", "shop:1"])
    page.get_by_role("button", name="Name", exact=True).click()
    expect(names).to_have_text(["shop:1", "cafe:2"])
    page.get_by_role("button", name="Own size").click()
    expect(names).to_have_text(["shop:1", "cafe:2"])

    page.get_by_label("Search images").fill("ACME shop")
    expect(names).to_have_text(["shop:1"])
    page.get_by_label("Search images").fill("debian")
    expect(page.get_by_role("heading", name="No image matches the search")).to_be_visible()
    page.get_by_role("button", name="Clear search").click()
    expect(names).to_have_count(2)


@pytest.mark.usefixtures("images")
def test_a_row_expands_to_the_details_of_its_image(page: Page) -> None:
    row(page, "shop:1").get_by_role("button", name="Details").press("Enter")
    expect(page.get_by_text("linux/amd64")).to_be_visible()
    expect(page.get_by_text("serve 'it'\\''s'")).to_be_visible()
    expect(page.get_by_text("TOKEN", exact=True)).to_be_visible()
    layers = page.get_by_role("grid", name="Layers").get_by_role("row")
    # Below the head: the base, which both images have, and a layer that only this one has.
    expect(layers).to_have_count(3)
    expect(layers.nth(1).locator("td[data-label=Shared]")).to_have_text("yes")
    expect(layers.nth(2).locator("td[data-label=Shared]")).to_have_text("no")
    axe(page)


def test_an_image_in_use_is_removed_after_its_volume(images: Place, page: Page) -> None:
    dialog = act(page, "cafe:2", "Create volume")
    expect(dialog.get_by_label("Name")).to_have_value("cafe-2.qcow2")
    dialog.get_by_label("Size in GiB").fill("1")
    expect(dialog.get_by_role("button", name="Create", exact=True)).to_be_disabled()
    dialog.get_by_label("Size in GiB").fill("20")
    dialog.get_by_role("button", name="Customize the system in it").click()
    dialog.get_by_label("Hostname").fill("cafe")
    dialog.get_by_label("Password of root").fill(PASSWORD)
    dialog.get_by_label("SSH keys of root").fill("not a key")
    axe(page)
    press(dialog, "Create")
    expect(dialog.get_by_text("SSH key 1 is not a valid public key")).to_be_visible()
    dialog.get_by_label("SSH keys of root").fill("")
    press(dialog, "Create")
    expect(page.get_by_text("The volume cafe-2.qcow2 was created.")).to_be_visible()
    path = images.host.virsh("vol-path", "--pool", "default", "cafe-2.qcow2")
    expect(page.get_by_text(path)).to_be_visible()
    assert PASSWORD not in page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    expect(cell(page, "cafe:2", "Used by")).to_have_text("cafe-2.qcow2")

    dialog = act(page, "cafe:2", "Remove")
    expect(dialog.get_by_text("It is used by cafe-2.qcow2.")).to_be_visible()
    expect(dialog.get_by_text(re.compile("^1 layer that only this image has: "))).to_be_visible()
    expect(dialog.get_by_text(re.compile("^1 layer that other images need: "))).to_be_visible()
    axe(page)
    press(dialog, "Remove")
    expect(dialog.get_by_text('is used by the volume "cafe-2.qcow2"')).to_be_visible()

    images.run("virtlayer", "--user", "remove-volume", "cafe-2.qcow2")
    expect(dialog.get_by_text("It is used by")).to_have_count(0)
    press(dialog, "Remove")
    expect(page.get_by_text("cafe:2 was removed.")).to_be_visible()
    expect(row(page, "cafe:2")).to_have_count(0)
    expect(row(page, "shop:1")).to_be_visible()


@pytest.mark.usefixtures("images")
def test_a_second_name_is_removed_without_its_layers(page: Page) -> None:
    dialog = act(page, "shop:1", "Add a name")
    dialog.get_by_label("Name").fill("shop:latest")
    press(dialog, "Add")
    dialog = act(page, "shop:latest", "Remove")
    expect(dialog.get_by_text("Only the name")).to_be_visible()
    press(dialog, "Remove")
    expect(row(page, "shop:latest")).to_have_count(0)
    expect(row(page, "shop:1")).to_be_visible()


def test_prune_shows_what_it_deletes(images: Place, page: Page) -> None:
    page.get_by_role("button", name="Prune").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("There is nothing to delete.")).to_be_visible()
    expect(dialog.get_by_role("button", name="Prune", exact=True)).to_be_disabled()
    press(dialog, "Cancel")

    before = set(images.host.volumes("default"))
    pull(images, shop(b"new"), "acme/shop:1")
    expect(cell(page, "shop:1", "Version")).to_have_text(re.compile("1 former version$"))
    row(page, "shop:1").get_by_role("button", name="Details").click()
    former = page.get_by_role("grid", name="Former versions")
    expect(former.get_by_role("gridcell", name="when nothing uses it")).to_be_visible()

    page.get_by_role("button", name="Prune").click()
    expect(dialog.get_by_text(re.compile("^1 volume would be deleted: .* KiB$"))).to_be_visible()
    dialog.get_by_role("button", name="List of volumes").click()
    volume = dialog.get_by_role("listitem")
    # With its text: what is read at once may be a list that is not there yet.
    expect(volume).to_have_text(re.compile(r"."))
    name = volume.inner_text()
    assert name in before
    axe(page)
    press(dialog, "Prune")
    expect(page.get_by_text(re.compile("1 volume was deleted: .* KiB$"))).to_be_visible()
    assert name not in images.host.volumes("default")
    expect(former).to_have_count(0)


def test_a_broken_image_says_how_to_repair_it(images: Place, page: Page) -> None:
    expect(row(page, "shop:1")).to_be_visible()
    for path in (images.host.directory / "pools" / "default").glob("layer-*"):
        path.unlink()
    images.host.virsh("pool-refresh", "default")
    images.run("virtlayer", "--user", "images")
    row(page, "shop:1 Broken").get_by_role("button", name="Details").click()
    expect(page.get_by_role("heading", name="This image is broken")).to_be_visible()
