# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page opens, shows what the service has, and stays usable whatever that is."""

import json
import re
from typing import Any

from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.examples.place import Place
from tests.support.cockpit import Cockpit

HOSTILE = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>\u202e\n' + "x" * 255
CONFIG = {"config": {"Entrypoint": [1, None, {}], "Cmd": [HOSTILE] * 400, "Env": {"a": 1}}}
PROPERTIES = {
    "Name": HOSTILE,
    "Source": f"docker://{HOSTILE}",
    "Broken": "no end " * 9000,
    "Config": json.dumps(CONFIG),
    "PulledAt": 2**64 - 1,
    "Size": 2**64 - 1,
}


def test_an_image_that_is_pulled_elsewhere_appears(page: Page, session: Place) -> None:
    expect(page.get_by_role("heading", name="Container images")).to_be_visible()
    session.run("virtlayer", "--user", "pull", "docker://docker.io/library/debian:13")
    expect(page.get_by_text("debian:13").first).to_be_visible()


def test_an_address_that_does_not_exist_shows_the_images(page: Page) -> None:
    page.evaluate("cockpit.location.go(['constructor'])")
    expect(page.get_by_role("tab", name="Images")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("debian:13").first).to_be_visible()


def hostile(values: Any) -> Any:
    """What the bridge sends, with other properties of images."""
    if isinstance(values, list):
        return [hostile(value) for value in values]
    if not isinstance(values, dict):
        return values
    values = {key: hostile(value) for key, value in values.items()}
    if "org.virtlayer1.Image" in values:
        for name, value in PROPERTIES.items():
            values["org.virtlayer1.Image"][name]["v"] = value
    return values


def route(socket: WebSocketRoute) -> None:
    server = socket.connect_to_server()

    def pass_on(message: str | bytes) -> None:
        if isinstance(message, str) and "org.virtlayer1.Image" in message:
            channel, text = message.split("\n", 1)
            message = f"{channel}\n{json.dumps(hostile(json.loads(text)))}"
        socket.send(message)

    server.on_message(pass_on)


def test_hostile_properties_are_shown_as_text(page: Page) -> None:
    page.route_web_socket(re.compile("/cockpit/socket$"), route)
    page.reload()
    expect(page.get_by_role("gridcell", name="<img src=x").first).to_be_visible()
    page.get_by_role("button", name="Details").first.click()
    expect(page.get_by_role("heading", name="This image is broken")).to_be_visible()
    table = page.get_by_role("grid", name="Images")
    assert table.evaluate("table => table.scrollHeight") < 3000
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Run").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    page.get_by_role("tab", name="Layers").click()
    expect(page.get_by_role("tree")).to_be_visible()
    assert page.evaluate("window.ran") is None
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_part_that_fails_leaves_the_others(chromium: Browser, web: Cockpit) -> None:
    page = chromium.new_page(locale="en-US")
    page.add_init_script("Intl.RelativeTimeFormat = class { constructor() { throw Error('no'); } }")
    page.goto(web.address)
    failed = page.get_by_role("heading", name="This part of the page cannot be shown")
    expect(failed).to_be_visible()
    page.get_by_role("tab", name="Layers").click()
    expect(page.get_by_role("tree")).to_be_visible()
    page.get_by_role("tab", name="Images").click()
    expect(failed).to_be_visible()
    page.evaluate("() => { Intl.RelativeTimeFormat = class { format() { return 'now'; } }; }")
    page.get_by_role("button", name="Show it again").click()
    expect(page.get_by_text("debian:13").first).to_be_visible()
    page.close()
