# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian packages, with all that they depend on, as the archive of one layer."""

import contextlib
import subprocess
import tarfile
from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from pathlib import Path

from bench import places
from bench.archive import LayerWriter
from bench.commands import run

_OTHER_BYTES = bytes(reversed(range(256)))
"""Another byte for each."""


def download(packages: Sequence[str]) -> list[Path]:
    """Download packages and their dependencies, as a machine would that has none.

    Returns:
        Their files, sorted by name.
    """
    directory = places.PACKAGES / "-".join(packages)
    done = directory / "complete"
    if not done.exists():
        (directory / "partial").mkdir(parents=True, exist_ok=True)
        empty = directory / "status"
        empty.touch()
        options = {
            "APT::Install-Recommends": "false",
            # As root, apt would download as a user of its own, who may not write here.
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true",
            "Dir::Cache::archives": str(directory),
            "Dir::State::status": str(empty),
            # The pins of the machine are for the machine.
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
        }
        arguments = [f"--option={key}={value}" for key, value in options.items()]
        run("apt-get", "--quiet", "--yes", "--download-only", *arguments, "install", *packages)
        done.touch()
    return sorted(directory.glob("*.deb"))


def add_packages(
    layer: LayerWriter, packages: Sequence[Path], *, updated: Collection[str] = ()
) -> list[str]:
    """Add the files of packages to a layer, every name once.

    Args:
        layer: The layer.
        packages: Their files.
        updated: Names of packages whose files get other content of the same size, which can be
            compressed as well.

    Returns:
        The names of the regular files.
    """
    seen: set[str] = set()
    files: list[str] = []
    for package in packages:
        is_updated = package.name.partition("_")[0] in updated
        with _members(package) as archive:
            for member in archive:
                member.name = member.name.removeprefix("./")
                if member.islnk():
                    member.linkname = member.linkname.removeprefix("./")
                if member.name in seen:
                    continue
                seen.add(member.name)
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None and is_updated:
                    content = BytesIO(content.read().translate(_OTHER_BYTES))
                layer.add(member, content)
                if member.isreg():
                    files.append(member.name)
    return files


@contextlib.contextmanager
def _members(package: Path) -> Iterator[tarfile.TarFile]:
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
    ) as unpacking:
        assert unpacking.stdout is not None
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive:
            yield archive
        # What comes after the archive's end is nothing, but dpkg-deb must get rid of it.
        unpacking.stdout.read()
    if unpacking.returncode != 0:
        raise SystemExit(f"dpkg-deb cannot read {package}")
