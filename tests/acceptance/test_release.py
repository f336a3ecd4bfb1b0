# SPDX-License-Identifier: LGPL-2.1-or-later
"""A release: its signed tag and checksums, and files that have the same bytes when built again."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parent.parent.parent
_WHO = "Release Test"
_MAIL = "release@example.org"
_FILES = {".tar.gz": 1, ".src.rpm": 1, ".deb": 5}
"""How many files of each kind a release has."""


@dataclass(frozen=True, slots=True)
class Maintainer:
    """Somebody with a key.

    Attributes:
        home: Their home directory.
    """

    home: Path

    def run(
        self, *command: str | Path, cwd: Path, umask: int = 0o022, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as they would."""
        others = {
            "GNUPGHOME",
            "GIT_DIR",
            "GIT_CONFIG_GLOBAL",
            "GIT_AUTHOR_EMAIL",
            "GIT_COMMITTER_EMAIL",
        }
        environment = {name: value for name, value in os.environ.items() if name not in others}
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment | {"HOME": str(self.home), "LANG": "C.UTF-8"} | more,
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )

    def do(self, *command: str | Path, cwd: Path, umask: int = 0o022, **more: str) -> str:
        """Run a program that must succeed; return what it prints on either output."""
        done = self.run(*command, cwd=cwd, umask=umask, **more)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout + done.stderr

    def clone(self, source: Path, name: str) -> Path:
        """Clone a repository."""
        self.do("git", "clone", "--quiet", "--shared", source, name, cwd=self.home)
        return self.home / name


@pytest.fixture(scope="module")
def maintainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maintainer]:
    home = tmp_path_factory.mktemp("maintainer")
    (home / ".gnupg").mkdir(mode=0o700)
    (home / ".gitconfig").write_text(f"[user]\nname = {_WHO}\nemail = {_MAIL}\n")
    one = Maintainer(home)
    one.do(
        *("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"),
        *(f"Another name <{_MAIL}>", "ed25519", "sign", "never"),
        cwd=home,
    )
    yield one
    one.do("gpgconf", "--kill", "all", cwd=home)


@pytest.fixture(scope="module")
def commit(maintainer: Maintainer) -> Path:
    """A clone whose last commit is that of a release."""
    clone = maintainer.clone(_CHECKOUT, "commit")
    maintainer.do("packaging/write-news", "2026-12-01", cwd=clone)
    maintainer.do("git", "commit", "--all", "-m", "all: Release a version", cwd=clone)
    return clone


@pytest.fixture(scope="module")
def releases(maintainer: Maintainer, commit: Path) -> tuple[Path, Path]:
    """Clones of it that were released: the second with other settings of a user."""
    here, there = maintainer.clone(commit, "here"), maintainer.clone(commit, "a-longer-name")
    maintainer.do("packaging/release", cwd=here)
    maintainer.do("packaging/release", cwd=there, umask=0o077, TZ="Asia/Tokyo", LANG="C")
    return here, there


@pytest.mark.parametrize("kind", _FILES)
def test_the_bytes_are_the_same(releases: tuple[Path, Path], kind: str) -> None:
    here, there = (clone / "build" / "release" for clone in releases)
    built = sorted(here.glob(f"*{kind}"))
    assert len(built) == _FILES[kind]
    for path in built:
        same = subprocess.run(
            ["cmp", path, there / path.name], capture_output=True, text=True, check=False
        )
        assert same.returncode == 0, same.stdout + same.stderr


def test_the_tag_and_the_checksums_are_signed(
    maintainer: Maintainer, releases: tuple[Path, Path]
) -> None:
    clone = releases[0]
    [tag] = maintainer.do("git", "tag", "--points-at", "HEAD", cwd=clone).split()

    assert "Good signature" in maintainer.do("git", "tag", "--verify", tag, cwd=clone)
    files = clone / "build" / "release"
    signed = maintainer.do("gpg", "--verify", "SHA256SUMS.asc", "SHA256SUMS", cwd=files)
    assert "Good signature" in signed
    checked = maintainer.do("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=files)
    names = {path.name for path in files.iterdir()} - {"SHA256SUMS", "SHA256SUMS.asc"}
    assert {line.removesuffix(": OK") for line in checked.splitlines()} == names


def test_a_version_is_released_once(maintainer: Maintainer, releases: tuple[Path, Path]) -> None:
    ended = maintainer.run("packaging/release", cwd=releases[0])

    assert ended.returncode == 1
    assert ended.stderr.startswith("release: The tag v")


def test_changes_are_not_released(maintainer: Maintainer, commit: Path) -> None:
    clone = maintainer.clone(commit, "changed")
    (clone / "NEWS").write_text("virtlayer\n")

    ended = maintainer.run("packaging/release", cwd=clone)

    assert (ended.returncode, ended.stderr) == (
        1,
        "release: There are changes that are not committed.\n",
    )


def test_news_come_first(maintainer: Maintainer) -> None:
    clone = maintainer.clone(_CHECKOUT, "without-news")

    ended = maintainer.run("packaging/release", cwd=clone)

    assert ended.returncode == 1
    assert "Run packaging/write-news, and commit." in ended.stderr


def test_nothing_is_built_without_a_key(maintainer: Maintainer, commit: Path) -> None:
    clone = maintainer.clone(commit, "without-key")
    maintainer.do("git", "config", "user.email", "nobody@example.org", cwd=clone)

    ended = maintainer.run("packaging/release", cwd=clone)

    assert ended.returncode == 1
    assert "gpg has no secret key for nobody@example.org" in ended.stderr
    assert not (clone / "build").exists()
