# SPDX-License-Identifier: LGPL-2.1-or-later
"""A page of Cockpit in Chromium, and what is kept of it when a test fails."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Error, Page

from tests.support.cockpit import Cockpit
from tests.support.waiting import PATIENCE

_open: list[Page] = []


@contextlib.contextmanager
def opened(
    chromium: Browser,
    web: Cockpit,
    *,
    address: str = "",
    dark: bool = False,
    language: str = "en-US",
    width: int = 1280,
    height: int = 800,
) -> Iterator[Page]:
    """Open the page; afterwards, fail if it had an error or asked another host for something.

    Args:
        chromium: Where.
        web: The running Cockpit.
        address: What follows the page's address, such as "#/layers".
        dark: Whether the user prefers a dark theme.
        language: That of the user, such as "de-DE".
        width: Of the window.
        height: Of the window.
    """
    errors: list[str] = []
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale=language,
        # What fades in has other colours at first.
        reduced_motion="reduce",
    )
    context.set_default_timeout(1000 * PATIENCE)
    context.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on(
        "request",
        lambda sent: None if _stays(sent.url, web) else errors.append(f"requested {sent.url}"),
    )
    page = context.new_page()
    _open.append(page)
    try:
        page.goto(f"{web.address}{address}")
        yield page
    finally:
        _open.remove(page)
        context.close()
    assert not errors, "\n".join(errors)


def _stays(url: str, web: Cockpit) -> bool:
    return url.startswith((web.host, "data:", "blob:"))


def write_evidence(directory: Path) -> list[Path]:
    """Write a picture, the document, and the names and roles of every open page."""
    written = []
    for number, page in enumerate(_open):
        # A page that has crashed has none of them.
        with contextlib.suppress(Error):
            base = directory / f"page-{number}"
            page.screenshot(path=base.with_suffix(".png"), full_page=True)
            base.with_suffix(".html").write_text(page.content())
            base.with_suffix(".yml").write_text(page.locator("body").aria_snapshot())
            written += [base.with_suffix(end) for end in (".png", ".html", ".yml")]
    return written
