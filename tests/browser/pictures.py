# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pictures of docs/cockpit.md: what a session shows that has images and machines.

``.venv/bin/python -m tests.browser.pictures`` draws them anew, in a minute.
"""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.examples.place import REPOSITORY, SOURCE, Place, place
from tests.support.cockpit import Cockpit, browser, cockpit
from tests.support.images import LayerContent, file, image, layer
from tests.support.kernel import debian_kernel
from tests.support.machine_host import machine_host
from tests.support.opened_page import opened

DOCS = REPOSITORY / "docs"
_MIB = 1 << 20


def fill(session: Place) -> None:
    """Pull images that share layers, and create volumes and machines of them."""
    base = _layer("usr/lib/libc.so.6", 9)
    python = _layer("usr/bin/python3", 5)
    contents = {
        "library/nginx:1.29": [base, _layer("usr/sbin/nginx", 4)],
        "library/postgres:17": [base, _layer("usr/bin/postgres", 12)],
        "library/python:3.13": [base, python],
        "team/backend:2026.11": [base, python, _layer("srv/app.py", 1)],
        "team/worker:2026.11": [base, python, _layer("srv/jobs.py", 2)],
    }
    for name, layers in contents.items():
        session.registry.store(image(layers), name)
    for source in [SOURCE, *(f"docker://docker.io/{name}" for name in contents)]:
        session.run("virtlayer", "--user", "pull", source)
    session.run("virtlayer", "--user", "create-volume", "postgres:17", "database.qcow2")
    for name in ("web", "builder"):
        _run_machine(session, name)


def draw(chromium: Browser, web: Cockpit, directory: Path) -> None:
    """Write cockpit-NAME.png for each tab, the dialog for pulls, and the dark theme."""
    with _page(chromium, web) as page:
        rows = page.get_by_role("row")
        expect(rows.filter(has_text="worker:2026.11").filter(has_text="MiB")).to_be_visible()
        _take(page, directory, "images")
        page.get_by_role("button", name="Pull image").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Source").fill("docker.io/library/redis:8")
        dialog.get_by_role("button", name="Options").click()
        expect(dialog.get_by_label("Verify TLS certificates")).to_be_visible()
        _take(page, directory, "pull")
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Layers").click()
        page.get_by_role("treeitem", name="image backend").first.hover()
        _take(page, directory, "layers")
        page.get_by_role("tab", name="Machines").click()
        expect(page.get_by_role("row").filter(has_text="builder")).to_be_visible()
        _take(page, directory, "machines")
    with _page(chromium, web, dark=True, address="#/layers") as page:
        page.get_by_role("treeitem", name="image postgres").first.hover()
        _take(page, directory, "dark")


@contextmanager
def _page(
    chromium: Browser, web: Cockpit, *, dark: bool = False, address: str = ""
) -> Iterator[Page]:
    with opened(chromium, web, dark=dark, address=address, width=1200, height=720) as page:
        yield page


def _take(page: Page, directory: Path, name: str) -> None:
    page.evaluate("document.fonts.ready")
    page.screenshot(path=directory / f"cockpit-{name}.png", animations="disabled", caret="hide")


def _layer(name: str, mebibytes: int) -> LayerContent:
    return layer(file(name, random.Random(name).randbytes(mebibytes * _MIB)))  # noqa: S311 -- no secret


def _run_machine(session: Place, name: str) -> None:
    kernel = debian_kernel()
    command = ["virtlayer", "--user", "run", "--detach", "--name", name, "--memory", "128M"]
    session.run(*command, "--kernel", str(kernel.image), SOURCE, "sleep", "infinity")


def main() -> None:
    """Draw all pictures."""
    with (
        tempfile.TemporaryDirectory() as directory,
        place(_folder(directory, "session"), new_host=machine_host) as session,
        cockpit(_folder(directory, "cockpit"), session.environment) as web,
        browser() as chromium,
    ):
        fill(session)
        draw(chromium, web, DOCS)


def _folder(directory: str, name: str) -> Path:
    folder = Path(directory, name)
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
