# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed files: complete, of one version, and the settings as the code has them."""

import os
import re
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

from tests.packaging.conftest import CHECKOUT
from virtlayer.settings import Settings, load_settings
from virtlayer.version import VERSION

SETTINGS = Path("etc/virtlayer/virtlayerd.toml")


def test_the_version_is_the_same_everywhere() -> None:
    changelog = (CHECKOUT / "packaging/debian/changelog").read_text()
    assert changelog.startswith(f"virtlayer ({VERSION}) ")
    spec = (CHECKOUT / "packaging/rpm/virtlayer.spec").read_text()
    assert re.search(rf"^Version: +{re.escape(VERSION)}$", spec, re.MULTILINE)
    assert (CHECKOUT / "NEWS").read_text().startswith(f"virtlayer {VERSION} ")


def test_a_python_without_the_packages_installs_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [CHECKOUT / "packaging" / "install-files", tmp_path / "root"],
        env={"PATH": os.environ["PATH"], "PYTHON": "/bin/false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "/bin/false cannot import virtlayer" in done.stderr
    assert not (tmp_path / "root").exists()


def test_no_file_for_the_system_is_forgotten(installed: Path) -> None:
    contents = {path.read_bytes() for path in installed.rglob("*") if path.is_file()}
    for folder in ("dbus", "systemd", "packaging/apparmor", "packaging/polkit"):
        for path in (CHECKOUT / folder).rglob("*"):
            if path.is_file():
                assert path.read_bytes() in contents, path


def test_the_default_settings_are_all_comments(installed: Path) -> None:
    path = installed / SETTINGS
    assert load_settings(path) == Settings()
    tables = tomllib.loads(path.read_text())
    assert set(tables) == {field.name for field in fields(Settings)}
    assert not any(tables.values())


def test_the_default_settings_name_every_key_with_its_default(
    installed: Path, tmp_path: Path
) -> None:
    text = re.sub(r"^#(?=\S)", "", (installed / SETTINGS).read_text(), flags=re.MULTILINE)
    written = tmp_path / "settings.toml"
    written.write_text(text)
    settings = load_settings(written)
    tables = tomllib.loads(text)
    for table in fields(Settings):
        keys = {field.name.replace("_", "-") for field in fields(getattr(settings, table.name))}
        assert set(tables[table.name]) == keys
        for field in fields(getattr(settings, table.name)):
            default = getattr(getattr(Settings(), table.name), field.name)
            # Where the service keeps things is said by its unit, or by the XDG directories.
            if default is not None:
                assert getattr(getattr(settings, table.name), field.name) == default
