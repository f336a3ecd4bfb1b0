# SPDX-License-Identifier: LGPL-2.1-or-later
"""The AppArmor profiles: as the parser reads them, and compared with units and processes."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.conftest import CHECKOUT
from tests.support.not_tested import not_tested
from tests.support.process_table import process_table

UNITS = {
    "virtlayerd": "virtlayerd.service",
    "virtlayer-keeper": "virtlayer-keeper.service",
    "virtlayer-rbd": "virtlayer-rbd@.service",
}
"""The unit of each profile."""
MODULES = "/usr/lib/python3/dist-packages/virtlayer"
STARTED = {
    "skopeo": ("virtlayerd", "skopeo"),
    "qemu-storage-daemon": ("virtlayer-keeper", "qemu-storage-daemon"),
    "qemu-img create": ("virtlayer-keeper", "qemu-img"),
    "qemu-img info": ("virtlayer-keeper", "qemu-img"),
    "RBD image server": ("virtlayer-rbd", "qemu-storage-daemon"),
}
"""The profile and the program of each row of the process table that is not our own program."""
STARTERS = {
    "virtlayerd": ("guard", "confine"),
    "virtlayer-keeper": ("guard",),
    "virtlayer-rbd": ("guard",),
}


def text_of(profile: str) -> str:
    return (CHECKOUT / "packaging" / "apparmor" / profile).read_text()


def parsed(path: Path) -> subprocess.CompletedProcess[str]:
    """Compile a profile for no kernel, because the kernel of the tests may have no AppArmor."""
    return subprocess.run(
        ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--skip-read-cache", path],
        capture_output=True,
        text=True,
        check=False,
    )


def settings(profile: str, key: str) -> list[str]:
    """All words of a key of the unit of a profile."""
    unit = (CHECKOUT / "systemd" / UNITS[profile]).read_text()
    lines = re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)
    return [word for line in lines for word in line.split()]


def file_rules(profile: str) -> Iterator[tuple[re.Pattern[str], str]]:
    """The pattern and the permissions of each rule about files."""
    rules = re.findall(r"^  ((?:/|@\{run\}/)\S*) (\w+),$", text_of(profile), re.MULTILINE)
    assert rules
    for path, permissions in rules:
        yield re.compile(expression(path.replace("@{run}", "/run"))), permissions


def expression(path: str) -> str:
    """The regular expression of a path of apparmor.d(5), as far as our profiles use such."""
    meanings = {"**": ".*", "*": "[^/]*", "{": "(?:", "}": ")", ",": "|"}
    parts = re.split(r"(\*\*|\*|\{|\}|,|\[[^]]+\])", path)
    return "".join(
        meanings.get(part, part if part.startswith("[") else re.escape(part)) for part in parts
    )


def allowed(profile: str, path: str | Path) -> set[str]:
    """The permissions that a profile gives for a path, besides those of included files."""
    return {
        permission
        for pattern, permissions in file_rules(profile)
        if pattern.fullmatch(str(path))
        for permission in permissions
    }


def program(name: str) -> Path:
    """The file that the kernel compares with rules: no symlink."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found, name
    return Path(found).resolve()


def test_each_profile_is_that_of_a_unit() -> None:
    directory = CHECKOUT / "packaging" / "apparmor"
    assert {path.name for path in directory.iterdir()} == set(UNITS)


@pytest.mark.parametrize("profile", UNITS)
def test_the_parser_accepts_it(profile: str) -> None:
    not_tested("AppArmor profiles in a kernel: the tests only compile them")
    done = parsed(CHECKOUT / "packaging" / "apparmor" / profile)
    assert done.returncode == 0, done.stderr
    assert f"include if exists <local/{profile}>" in text_of(profile)


@pytest.mark.parametrize("profile", UNITS)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("include <tunables/global>", ""),
        ("include <abstractions/base>", "include <abstractions/missing>"),
        (" mrix,", " mrix"),
        ("unix,", "unicorn,"),
    ],
)
def test_the_parser_refuses_a_wrong_one(
    profile: str, right: str, wrong: str, tmp_path: Path
) -> None:
    text = text_of(profile)
    assert right in text
    (tmp_path / profile).write_text(text.replace(right, wrong))
    assert parsed(tmp_path / profile).returncode != 0


@pytest.mark.parametrize("profile", UNITS)
def test_it_applies_only_where_an_administrator_selects_it(profile: str) -> None:
    # With a path, it would also apply to services of users' sessions, which have other directories.
    declared = re.findall(r"^profile (.*) \{$", text_of(profile), re.MULTILINE)
    assert declared == [f"{profile} flags=(complain, attach_disconnected, mediate_deleted)"]
    # It refuses programs without a rule even in complain mode, and was never tried on a kernel.
    assert settings(profile, "AppArmorProfile") == []


@pytest.mark.parametrize("profile", UNITS)
def test_it_has_the_capabilities_of_the_unit(profile: str) -> None:
    names = re.findall(r"^  capability (\w+),$", text_of(profile), re.MULTILINE)
    assert sorted(f"CAP_{name.upper()}" for name in names) == sorted(
        settings(profile, "CapabilityBoundingSet")
    )


@pytest.mark.parametrize("profile", UNITS)
def test_what_the_unit_makes_writable_can_be_written(profile: str) -> None:
    places = [path.removeprefix("-") for path in settings(profile, "ReadWritePaths")]
    for key, above in (("State", "/var/lib"), ("Cache", "/var/cache"), ("Runtime", "/run")):
        places += [f"{above}/{name}" for name in settings(profile, f"{key}Directory")]
    assert bool(places) == (profile != "virtlayer-rbd")
    for place in places:
        assert set("rw") <= allowed(profile, f"{place}/directory/file"), place


def test_every_process_of_the_table_can_be_started() -> None:
    ours = {name for name in process_table() if name not in STARTED}
    assert len(ours) + len(STARTED) == len(process_table())
    # Our own programs are Python's.
    assert {"virtlayerd", "virtlayer-keeper", "virtlayer-rbd", "layer worker"} < ours
    for profile in UNITS:
        assert "x" in allowed(profile, program("python3")), profile
    for profile, name in STARTED.values():
        assert set("mrix") <= allowed(profile, program(name)), name
    for profile, names in STARTERS.items():
        for name in names:
            assert set("mrix") <= allowed(profile, f"{MODULES}/{name}"), name


@pytest.mark.parametrize("profile", UNITS)
def test_what_runs_inherits_the_profile(profile: str) -> None:
    # With NoNewPrivileges=, the kernel refuses programs that would have another one.
    assert settings(profile, "NoNewPrivileges") == ["yes"]
    for pattern, permissions in file_rules(profile):
        assert "x" not in permissions or permissions == "mrix", pattern


@pytest.mark.parametrize("profile", UNITS)
def test_no_other_program_can_be_started(profile: str) -> None:
    for path in (
        "/usr/bin/dash",
        "/usr/bin/su",
        "/var/lib/libvirt/images/it",
        "/var/cache/virtlayer/it",
    ):
        assert "x" not in allowed(profile, path), path


@pytest.mark.parametrize("profile", UNITS)
def test_files_of_the_host_cannot_be_written(profile: str) -> None:
    for path in ("/etc/passwd", "/usr/bin/python3", "/root/.bashrc", "/home/alice/file"):
        assert "w" not in allowed(profile, path), path
