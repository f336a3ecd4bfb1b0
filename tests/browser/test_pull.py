# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls through the page: progress, cancelling, failures, credentials."""

import json
import os
import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.examples.place import SOURCE, Place
from tests.support.faulty_registry import Fault, faulty_registry
from tests.support.images import Content, file, image, layer
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd

USER = "user-7f3a"
PASSWORD = "swordfish-7f3a"


def content(*sizes: int) -> Content:
    """An image that no other test has, with layers of these sizes."""
    return image([layer(file("data", os.urandom(size))) for size in sizes])


def blob(of: Content, number: int) -> str:
    """The digest of a layer's blob."""
    return str(json.loads(of.manifest)["layers"][number]["digest"])


def options(dialog: Locator) -> Locator:
    """The button that opens the part "Options" of the dialog."""
    return dialog.get_by_role("button", name="Options")


def pull(page: Page, source: str, *, verify: bool = True) -> None:
    """Start a pull in the dialog."""
    page.get_by_role("button", name="Pull image").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Source").fill(source)
    if not verify:
        options(dialog).click()
        dialog.get_by_label("Verify TLS certificates").uncheck()
    dialog.get_by_role("button", name="Pull", exact=True).click()
    expect(dialog).not_to_be_visible()


def bar(page: Page, name: str) -> Locator:
    return page.get_by_role("progressbar", name=f"Pull of {name}")


def failure(page: Page, name: str) -> Locator:
    """The item of a failed pull."""
    return page.get_by_role("listitem").filter(
        has=page.get_by_role("heading", name=f"The pull of {name} into pool default has failed")
    )


def try_again(page: Page, name: str) -> None:
    failure(page, name).get_by_role("button", name="Try again").click()


def expect_done(page: Page, name: str) -> None:
    expect(page.get_by_text(f"{name} was pulled into pool default")).to_be_visible()
    expect(bar(page, name)).to_have_count(0)
    expect(failure(page, name)).to_have_count(0)


def test_an_image_is_pulled_by_keys_alone(page: Page, session: Place) -> None:
    session.run("virtlayer", "--user", "pull", SOURCE, "--name", "first")
    page.get_by_role("button", name="Pull image").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    source = dialog.get_by_label("Source")
    expect(source).to_be_focused()

    page.keyboard.type("Debian")
    page.keyboard.press("Enter")
    expect(source).to_have_accessible_description(re.compile('use lower case, "library/debian"'))

    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("debian:13")
    # The page learns of the first image when the service's signal arrives.
    expect(dialog.locator(f"datalist option[value='{SOURCE}']")).to_have_count(1)
    expect(dialog.get_by_label("Name")).to_have_attribute("placeholder", "debian:13")
    page.keyboard.press("Enter")
    expect(dialog).not_to_be_visible()
    expect_done(page, "debian:13")


def test_two_pulls_show_their_progress_and_survive_a_reload(page: Page) -> None:
    one, two = content(3_000_000, 1_000_000), content(2_000_000)
    with faulty_registry() as (registry, release):
        registry.faults[blob(one, 1)] = Fault.HANG
        registry.faults[blob(two, 0)] = Fault.HANG_HALF_WAY
        pull(page, registry.store(one, "team/one:1"), verify=False)
        pull(page, registry.store(two, "team/two:2"), verify=False)
        for name in ("one:1", "two:2"):
            expect(bar(page, name)).to_have_attribute("aria-valuenow", re.compile("[1-9]"))
        expect(bar(page, "one:1")).to_have_accessible_description(re.compile("2.9 MiB of 3.8 MiB"))

        page.reload()
        expect(page.get_by_role("progressbar")).to_have_count(2)
        item = page.get_by_role("listitem").filter(has=bar(page, "two:2"))
        item.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("progressbar")).to_have_count(1)
        release()
        expect_done(page, "one:1")
        expect(failure(page, "two:2")).to_have_count(0)


def test_a_failed_pull_is_tried_again_with_the_same_request(page: Page, session: Place) -> None:
    session.run("virtlayer", "--user", "pull", "docker://docker.io/library/elsewhere:1", status=3)
    pull(page, "late:1")
    expect(failure(page, "late:1")).to_contain_text("docker.io/library/late:1")

    failure(page, "elsewhere:1").get_by_role("button", name="Dismiss").click()
    page.reload()
    expect(failure(page, "late:1")).to_be_visible()
    expect(failure(page, "elsewhere:1")).to_have_count(0)

    session.registry.store(content(1000), "library/late:1")
    try_again(page, "late:1")
    expect_done(page, "late:1")


def test_a_registry_with_its_own_certificate_and_a_password(page: Page, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry", tls=True, htpasswd=(USER, PASSWORD)) as registry:
        pull(page, registry.store(content(1000), "private:1"))
        expect(failure(page, "private:1")).to_contain_text("certificate")

        failure(page, "private:1").get_by_role("button", name="Edit").click()
        dialog = page.get_by_role("dialog")
        options(dialog).click()
        dialog.get_by_label("Verify TLS certificates").uncheck()
        dialog.get_by_role("button", name="Pull", exact=True).click()
        expect(dialog).not_to_be_visible()
        for password in (PASSWORD[::-1], PASSWORD):
            try_again(page, "private:1")
            expect(dialog.get_by_label("Verify TLS certificates")).not_to_be_checked()
            expect(dialog.get_by_label("Password")).to_have_value("")
            dialog.get_by_label("User at the registry").fill(USER)
            dialog.get_by_label("Password").fill(password)
            dialog.get_by_role("button", name="Pull", exact=True).click()
            expect(dialog).not_to_be_visible()
        expect_done(page, "private:1")
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    for secret in (USER, PASSWORD, PASSWORD[::-1]):
        assert secret not in stored


def test_pulls_survive_the_end_of_the_service(page: Page, session: Place) -> None:
    slow = content(100_000)
    pull(page, "absent:1")
    expect(failure(page, "absent:1")).to_be_visible()
    with faulty_registry() as (registry, release):
        registry.faults[blob(slow, 0)] = Fault.HANG
        pull(page, registry.store(slow, "slow:1"), verify=False)
        expect(bar(page, "slow:1")).to_be_visible()
        session.daemon.process.terminate()
        session.daemon.process.wait()
        expect(failure(page, "slow:1")).to_contain_text("virtlayerd stopped before")
        expect(failure(page, "absent:1")).to_be_visible()
        release()
        with virtlayerd(session.host, session.daemon.bus, session.daemon.directory):
            page.reload()
            expect(failure(page, "absent:1")).to_be_visible()
            try_again(page, "slow:1")
            expect_done(page, "slow:1")
