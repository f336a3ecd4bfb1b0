# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page with the services of the system and of a session, with one of them, and with none."""

import contextlib
import os
import pwd
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.bus.daemon import libvirt_with_pools
from tests.bus.polkit import open_directory
from tests.support.activation import (
    activating_bus,
    end_service,
    service_command,
    wait_for_exit,
    write_activation,
)
from tests.support.bus_daemon import Bus, session_bus, system_bus
from tests.support.cockpit import cockpit
from tests.support.command import COMMAND
from tests.support.images import file, image, layer
from tests.support.libvirt_host import LibvirtHost, private_host
from tests.support.opened_page import opened
from tests.support.registry import Registry

pytestmark = pytest.mark.root
_SETTINGS = "[service]\nidle-timeout = 1\n[jobs]\nkeep-seconds = 0\n"


@dataclass(frozen=True, slots=True)
class Both:
    """Two virtlayerds, each with a libvirt of its own.

    Attributes:
        directory: Every user may enter it.
        host: The libvirtd of the system's.
        system: Its bus.
        session: The bus of the other one.
        registry: Of what is pulled.
    """

    directory: Path
    host: LibvirtHost
    system: Bus
    session: Bus
    registry: Registry

    @property
    def environment(self) -> dict[str, str]:
        return _environment(self.system.address, self.session.address)


def _environment(system: str, session: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "DBUS_SYSTEM_BUS_ADDRESS": system,
        "DBUS_SESSION_BUS_ADDRESS": session,
    }


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with open_directory() as directory:
        for name in ("system", "session"):
            (directory / name).mkdir()
        with (
            Registry(directory / "registry") as registry,
            private_host() as host,
            activating_bus(
                directory / "system", host.uri, session=False, settings=_SETTINGS
            ) as system,
            activating_bus(
                directory / "session",
                libvirt_with_pools(directory / "session"),
                session=True,
                settings=_SETTINGS,
            ) as session,
        ):
            host.start_pool("default")
            registry.store(image([layer(file("x"))]), "demo:1")
            pull(system, registry)
            yield Both(directory, host, system, session, registry)


def pull(system: Bus, registry: Registry, name: str = "demo:1") -> None:
    source = f"docker://{registry.host}/demo:1"
    system.run(str(COMMAND), "pull", "--tls-verify=false", f"--name={name}", source, "default")


def start_pull(page: Page, registry: Registry, name: str) -> None:
    """Fill in and send the dialog; the first pool that it offers is the system's."""
    page.get_by_role("button", name="Pull image").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Source").fill(f"docker://{registry.host}/demo:1")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Options").click()
    dialog.get_by_label("Verify TLS certificates").uncheck()
    dialog.get_by_role("button", name="Pull", exact=True).click()


def test_images_stay_when_the_service_exits_and_the_next_action_starts_it_again(
    chromium: Browser, both: Both
) -> None:
    with (
        cockpit(both.directory / "web", both.environment) as web,
        opened(chromium, web) as page,
    ):
        image = page.get_by_text("demo:1").first
        expect(image).to_be_visible()
        expect(page.get_by_role("heading", name="Limited access")).to_have_count(0)
        wait_for_exit(both.system)
        wait_for_exit(both.session)
        pull(both.system, both.registry, "again:1")
        expect(page.get_by_text("again:1").first).to_be_visible()
        end_service(both.system, signal.SIGKILL)
        expect(image).to_be_visible()
        start_pull(page, both.registry, "third:1")
        # The image, not the pull: the service must have nothing to do when it is ended.
        expect(page.get_by_role("row").filter(has_text="third:1")).to_be_visible()


def test_ordinary_user_sees_images_and_is_told_who_may_change_them(
    chromium: Browser, both: Both
) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    environment = _environment(both.system.address, "unix:path=/nonexistent")
    with (
        cockpit(both.directory / "web-of-nobody", environment, uid=nobody) as web,
        opened(chromium, web) as page,
    ):
        expect(page.get_by_text("demo:1").first).to_be_visible()
        expect(page.get_by_role("heading", name="Limited access")).to_be_visible()
        start_pull(page, both.registry, "mine:1")
        refusal = page.get_by_role("dialog").get_by_role("alert")
        expect(refusal).to_contain_text("org.virtlayer1.pull")
        expect(refusal).to_contain_text("Turn on administrative access")


def test_page_explains_what_is_missing(chromium: Browser, tmp_path: Path) -> None:
    services = tmp_path / "services"
    for name in ("services", "system", "session"):
        (tmp_path / name).mkdir()
    with (
        system_bus(tmp_path / "system") as system,
        session_bus(tmp_path / "session", services=services) as session,
        cockpit(tmp_path / "web", _environment(system.address, session.address)) as web,
        opened(chromium, web) as page,
        contextlib.ExitStack() as ending,
    ):
        expect(page.get_by_role("heading", name="virtlayer is not installed")).to_be_visible()
        expect(page.get_by_role("button", name="Pull image")).to_have_count(0)
        again = page.get_by_role("button", name="Connect again")
        # The bus reads the file of activation once, so what it starts is in another one.
        program = tmp_path / "virtlayerd"
        program.write_text("exit 1\n")
        write_activation(services, ["/bin/sh", program])
        again.click()
        expect(page.get_by_role("heading", name="virtlayerd cannot be started")).to_be_visible()
        expect(page.get_by_text("journalctl --user -u virtlayerd")).to_be_visible()
        ending.callback(end_service, session, signal.SIGTERM)
        for uri, shown in (
            (f"qemu+unix:///session?socket={tmp_path}/none", "libvirt cannot be used"),
            (libvirt_with_pools(tmp_path), "Images"),
        ):
            end_service(session, signal.SIGTERM)
            command = service_command(session, tmp_path, uri)
            program.write_text(f"exec {shlex.join(map(str, command))}\n")
            again.click()
            expect(page.get_by_text(shown, exact=True)).to_be_visible()
