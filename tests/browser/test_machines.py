# SPDX-License-Identifier: LGPL-2.1-or-later
"""The dialog "Run" and the tab "Machines", with a machine that boots."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.rows import actions_of
from tests.examples.place import SOURCE, Place, place
from tests.support.axe import axe
from tests.support.kernel import debian_kernel
from tests.support.machine_host import machine_host

BOOT = 90_000
"""Milliseconds until a machine has booted; other tests run at the same time."""
DOMAIN = """\
<domain type='qemu'><name>taken</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64'>hvm</type></os></domain>
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A session with an image, whose machines have logs."""
    with place(tmp_path_factory.mktemp("session"), new_host=machine_host) as running:
        running.run("virtlayer", "--user", "pull", SOURCE)
        yield running


def run_dialog(page: Page) -> Locator:
    """Open the dialog "Run" for the image, with what is fast enough without KVM."""
    page.get_by_role("tab", name="Images").click()
    actions_of(page, "debian:13").click()
    page.get_by_role("menuitem", name="Run").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Memory").fill("128")
    dialog.get_by_label("Processors").fill("1")
    dialog.get_by_role("button", name="Options").click()
    dialog.get_by_label("Kernel", exact=True).fill(str(debian_kernel().image))
    return dialog


def cell(page: Page, label: str) -> Locator:
    return page.locator(f"td[data-label='{label}']")


def act(page: Page, action: str) -> None:
    """Choose an action of the only machine."""
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name=action).click()


def test_what_cannot_be_run_is_shown_in_the_dialog(page: Page, session: Place) -> None:
    description = session.host.directory / "taken.xml"
    description.write_text(DOMAIN)
    session.host.virsh("define", str(description))

    page.get_by_role("tab", name="Machines").click()
    expect(page.get_by_role("heading", name="No machines")).to_be_visible()

    dialog = run_dialog(page)
    run = dialog.get_by_role("button", name="Run")
    dialog.get_by_label("Memory").fill("1.5")
    expect(dialog.get_by_text("A whole number from 64 on.")).to_be_visible()
    expect(run).to_be_disabled()
    dialog.get_by_label("Memory").fill("128")
    dialog.get_by_label("Name", exact=True).fill("taken")
    run.click()
    expect(dialog.get_by_role("alert")).to_contain_text('"taken"')
    dialog.get_by_label("Kernel", exact=True).fill("/nonexistent")
    dialog.get_by_label("Name", exact=True).fill("free")
    run.click()
    expect(dialog.get_by_role("alert")).to_contain_text("/nonexistent")
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("free")

    session.host.virsh("undefine", "taken")


def test_a_machine_is_run_used_stopped_started_and_removed(page: Page, session: Place) -> None:
    dialog = run_dialog(page)
    dialog.get_by_label("Name", exact=True).fill("web")
    dialog.get_by_role("button", name="Add variable").click()
    dialog.get_by_label("Name of variable 1").fill("ANSWER")
    dialog.get_by_label("Value of variable 1").fill("forty two")
    dialog.get_by_role("button", name="Run").click()
    expect(dialog.get_by_role("progressbar")).to_be_visible()

    # The dialog closes, and the machine is shown with its console.
    screen = page.locator(".xterm-rows")
    expect(screen).to_contain_text("the shell of the machine", timeout=BOOT)
    expect(dialog).to_be_hidden()
    expect(cell(page, "State")).to_have_text("Running")
    leave = page.get_by_role("button", name="Disconnect")
    expect(leave).to_be_visible()
    terminal = page.get_by_role("textbox", name="Terminal")
    expect(terminal).to_be_focused()
    # Colours of these kinds are style sheets and style attributes in xterm.js.
    page.keyboard.type('printf "\\033[31m[$ANSWER]\\033[38;2;1;200;3m(\\033[m"; stty size\n')
    expect(screen).to_contain_text(re.compile(r"\[forty two\]\(2[0-9] \d+"))
    # The terminal shows what is typed meanwhile within the output.
    page.keyboard.type("echo '<0>a message of the kernel' >/dev/kmsg\n")
    red, green = screen.get_by_text("[forty two]"), screen.get_by_text("(", exact=True)
    assert red.evaluate("one => getComputedStyle(one).color") != "rgb(245, 245, 245)"
    expect(green).to_have_css("color", "rgb(1, 200, 3)")
    page.keyboard.press("Control+F6")
    expect(leave).to_be_focused()
    axe(page)

    page.get_by_role("tab", name="Logs").click()
    log = page.get_by_role("log", name="Output of the machine")
    expect(log).to_contain_text("[forty two](")
    page.get_by_role("button", name="Kernel log").click()
    expect(log).to_contain_text("a message of the kernel")
    expect(log).not_to_contain_text("[forty two](")
    axe(page)
    page.get_by_role("tab", name="Details").click()
    expect(page.get_by_role("tabpanel").get_by_text("web.qcow2")).to_be_visible()

    # cockpit-machines is not installed here.
    elsewhere = page.get_by_role("menuitem", name="Open in Virtual machines")
    page.get_by_role("button", name="Actions").click()
    expect(page.get_by_role("menuitem", name="Console")).to_be_visible()
    expect(elsewhere).to_be_hidden()
    page.keyboard.press("Escape")
    page.evaluate("cockpit.manifests.machines = {}")
    page.get_by_role("button", name="Actions").click()
    expect(elsewhere).to_be_visible()
    page.get_by_role("menuitem", name="Console").click()

    # The console shows what was written before, and goes on; the address says what is shown.
    expect(screen).to_contain_text("[forty two](")
    page.reload()
    expect(screen).to_contain_text("[forty two](")
    act(page, "Stop")
    expect(cell(page, "State")).to_have_text("Stopped")
    expect(cell(page, "Exit status")).to_have_text("143 (signal 15)")
    expect(page.get_by_text("The console is disconnected.")).to_be_visible()

    act(page, "Start")
    expect(cell(page, "State")).to_have_text("Running", timeout=BOOT)
    expect(cell(page, "Exit status")).to_have_text("")
    expect(leave).to_be_visible()
    terminal.press_sequentially("exit\n")
    # The machine reads it when it has booted.
    expect(cell(page, "Exit status")).to_have_text("0", timeout=BOOT)

    act(page, "Remove")
    expect(dialog).to_contain_text("web.qcow2")
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="No machines")).to_be_visible()
    assert session.host.virsh("list", "--all", "--name") == ""
