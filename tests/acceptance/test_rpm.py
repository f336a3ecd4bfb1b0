# SPDX-License-Identifier: LGPL-2.1-or-later
"""The binary packages of the spec: the same files as Debian's, in a root of their own.

Debian's rpm builds them, with stand-ins for the macros of Fedora (``fedora.macros``). What Fedora's
own macros do is not tested here, and neither are its dependencies.
"""

import re
import subprocess
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parent.parent.parent
_MACROS = Path(__file__).parent / "fedora.macros"
_NAMES = ("cockpit-virtlayer", "virtlayer", "virtlayer-rbd", "virtlayerd")
# Documents, what only one of the two keeps, what pip and Debian's Python helper call metadata, and
# profiles of AppArmor, which Fedora does not have.
_OTHERS = re.compile(
    r"/usr/share/(doc|licenses|lintian)/|/etc/apparmor\.d/"
    r"|/usr/lib/python3/.*(\.(dist|egg)-info/|/__pycache__/)"
)
# Where the distributions have the same.
_PLACES = {
    "/usr/share/zsh/vendor-completions/": "/usr/share/zsh/site-functions/",
}


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packages that rpmbuild makes of the source RPM of `make rpm`."""
    [source] = (_CHECKOUT / "build" / "rpm").glob("*.src.rpm")
    top = tmp_path_factory.mktemp("rpm")
    done = subprocess.run(
        [
            *("rpmbuild", "--rebuild", "--nodeps", f"--load={_MACROS}"),
            *("--define", f"_topdir {top}"),
            source,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    built = {output("rpm", "-qp", "--qf", "%{NAME}", path): path for path in top.rglob("*.rpm")}
    assert sorted(built) == list(_NAMES)
    return built


@pytest.fixture(scope="module")
def root(rpms: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty root directory with these packages."""
    directory = tmp_path_factory.mktemp("root")
    # The scriptlets need programs that an empty root does not have.
    command = (
        "rpm",
        f"--root={directory}",
        "--install",
        "--nodeps",
        "--noscripts",
        "--nosignature",
    )
    subprocess.run([*command, *rpms.values()], check=True, capture_output=True)
    return directory


def scriptlets(path: Path) -> str:
    return output("rpm", "-qp", "--nosignature", "--scripts", path)


def files_of_rpm(path: Path) -> dict[str, str]:
    """Paths and modes of the files, without directories."""
    query = r"[%{FILEMODES:perms} %{FILENAMES}\n]"
    lines = output("rpm", "-qp", "--nosignature", "--qf", query, path).splitlines()
    found = (line.split(" ", 1) for line in lines if not line.startswith("d"))
    return {plain(name): mode_of(name, mode) for mode, name in found if not _OTHERS.match(name)}


def files_of_deb(name: str) -> dict[str, str]:
    [path] = (_CHECKOUT / "build" / "deb").glob(f"{name}_*.deb")
    found = {}
    for line in output("dpkg-deb", "--contents", path).splitlines():
        mode, _, _, _, _, file = line.split(maxsplit=5)
        file = file.removeprefix(".").split(" -> ")[0]
        if not mode.startswith("d") and not _OTHERS.match(file):
            found[plain(file)] = mode_of(file, mode)
    return found


def mode_of(path: str, mode: str) -> str:
    """A mode, of a library without the right to execute it: only Debian takes that away."""
    return mode.replace("x", "-") if path.endswith(".so") else mode


def plain(path: str) -> str:
    """A path as Fedora has it, of a page of the manual without ``.gz``."""
    for debian, fedora in _PLACES.items():
        path = path.replace(debian, fedora)
    return path.removesuffix(".gz") if "/man/" in path else path


@pytest.mark.parametrize("name", _NAMES)
def test_the_files_are_those_of_the_debian_package(rpms: dict[str, Path], name: str) -> None:
    files = files_of_rpm(rpms[name])
    assert files
    assert files == files_of_deb(name)


@pytest.mark.parametrize("name", _NAMES)
def test_the_scriptlets_are_valid(rpms: dict[str, Path], name: str) -> None:
    scripts = scriptlets(rpms[name])
    bodies = re.split(r"^\w+ scriptlet \(using /bin/sh\):$", scripts, flags=re.MULTILINE)[1:]
    assert len(bodies) == {"cockpit-virtlayer": 0}.get(name, 3)
    for body in bodies:
        subprocess.run(["sh", "-n"], input=body, text=True, check=True)
        assert "%" not in body


def test_all_units_are_enabled_and_stopped_by_a_scriptlet(rpms: dict[str, Path]) -> None:
    scripts = {name: scriptlets(rpms[name]) for name in _NAMES}
    for unit in ("virtlayerd.service", "virtlayer-keeper.socket", "virtlayer-keeper.service"):
        assert unit in scripts["virtlayerd"]
    assert "virtlayer-rbd.socket" in scripts["virtlayer-rbd"]
    assert "virtlayer-populate.timer" in scripts["virtlayer"]


def test_the_units_are_ours(root: Path) -> None:
    for scope, folder in (("system", "systemd"), ("user", "systemd/user")):
        for path in (_CHECKOUT / folder).glob("*.*"):
            if path.suffix in {".service", ".socket", ".timer"}:
                installed = root / "usr/lib/systemd" / scope / path.name
                assert installed.read_bytes() == path.read_bytes()


def test_the_users_can_be_created(root: Path) -> None:
    subprocess.run(["systemd-sysusers", f"--root={root}"], check=True, capture_output=True)
    users = {line.split(":")[0] for line in (root / "etc/passwd").read_text().splitlines()}
    assert {"virtlayer", "virtlayer-worker", "virtlayer-qemu"} <= users


def test_only_the_settings_are_configuration(rpms: dict[str, Path]) -> None:
    files = output("rpm", "-qp", "--configfiles", "--nosignature", *rpms.values())
    assert files.split() == ["/etc/virtlayer/virtlayerd.toml"]
