# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages: without a complaint of mandoc, and complete."""

import subprocess
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.packaging.conftest import CHECKOUT
from virtlayer.client.arguments import build_parser
from virtlayer.service.operations.configured import ImageFile
from virtlayer.settings import Settings

PAGES = (
    "virtlayer.1",
    "virtlayer-images.5",
    "virtlayerd.toml.5",
    "org.virtlayer1.5",
    "virtlayerd.8",
    "virtlayer-keeper.8",
    "virtlayer-rbd.8",
)


def page(installed: Path, name: str) -> Path:
    return installed / "usr/share/man" / f"man{name[-1]}" / name


def shown(installed: Path, name: str) -> str:
    path = str(page(installed, name))
    text = output("mandoc", "-T", "utf8", "-O", "width=200", path)
    # Without the overstriking that makes letters bold.
    return output("col", "-bx", stdin=text)


def output(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, check=True, capture_output=True, text=True)
    return done.stdout


def test_these_are_all_pages(installed: Path) -> None:
    found = {path.name for path in (installed / "usr/share/man").rglob("*.?") if path.is_file()}
    assert found == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_does_not_complain(installed: Path, name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page(installed, name)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_s_page_names_its_help(installed: Path) -> None:
    text = shown(installed, "virtlayer.1")
    for word in build_parser().format_help().split():
        if word.startswith("--"):
            assert word.strip(",]") in text
    assert "virtlayer pull [option ...] SOURCE [POOL]" in text


def test_the_settings_page_names_every_key(installed: Path) -> None:
    text = " ".join(shown(installed, "virtlayerd.toml.5").split())
    for table in fields(Settings):
        assert f"Table {table.name}" in text
        for field in fields(getattr(Settings(), table.name)):
            default = getattr(getattr(Settings(), table.name), field.name)
            assert field.name.replace("_", "-") in text
            if default is not None:
                written = default if isinstance(default, str) else f"{default:_}"
                assert f"Default: {written}" in text, field.name


def test_the_images_page_names_every_key(installed: Path) -> None:
    text = shown(installed, "virtlayer-images.5")
    for field in fields(ImageFile):
        assert field.name.replace("_", "-") in text


def test_the_interface_s_page_names_every_member(installed: Path) -> None:
    text = shown(installed, "org.virtlayer1.5")
    for path in (CHECKOUT / "dbus").glob("org.virtlayer1.*.xml"):
        for member in ElementTree.parse(path).getroot().iter():  # noqa: S314 -- our own file
            if member.tag in {"method", "signal", "property"}:
                assert str(member.get("name")) in text
    assert text.count("Since: ") == sum(
        path.read_text().count("Since: ") for path in (CHECKOUT / "dbus").glob("*.xml")
    )
