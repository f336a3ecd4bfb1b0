# SPDX-License-Identifier: LGPL-2.1-or-later
"""NEWS of a release, from the release notes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import CHECKOUT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What packaging/write-news reads."""
    for name in ("packaging", "docs"):
        (tmp_path / name).mkdir()
    shutil.copy(CHECKOUT / "packaging" / "write-news", tmp_path / "packaging")
    shutil.copytree(CHECKOUT / "docs" / "release-notes", tmp_path / "docs" / "release-notes")
    released = "virtlayer 0.1.0 (2026-01-01)\n\n- First version.\n"
    (tmp_path / "NEWS").write_text(
        f"virtlayer 0.2.0 (not released yet)\n\n- Some text.\n\n{released}"
    )
    return tmp_path


def write_news(tree: Path, date: str = "2026-12-01") -> subprocess.CompletedProcess[str]:
    command = [str(tree / "packaging" / "write-news"), date]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_release_notes_move_to_the_news(tree: Path) -> None:
    notes = tree / "docs" / "release-notes"
    notes.joinpath("speed-0.md").write_text("# Some title\n\nSee [a page](../page.md) for\nmore.\n")
    done = write_news(tree)
    assert (done.returncode, done.stderr) == (0, "")
    text = (tree / "NEWS").read_text()
    assert text.startswith("virtlayer 0.2.0 (2026-12-01)\n\n")
    assert text.endswith("\n\nvirtlayer 0.1.0 (2026-01-01)\n\n- First version.\n")
    assert "Speed:\n- Some title. See a page for more.\n" in text
    assert "Some text" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert [path.name for path in notes.iterdir()] == ["README.md"]


def test_a_note_of_an_unknown_area_is_refused(tree: Path) -> None:
    (tree / "docs" / "release-notes" / "misc-some.md").write_text("# Some\n\nText.\n")
    before = (tree / "NEWS").read_text()
    done = write_news(tree)
    assert done.returncode == 1
    assert "misc-some.md: the area must be one of" in done.stderr
    assert (tree / "NEWS").read_text() == before


def test_a_released_version_gets_no_second_section(tree: Path) -> None:
    assert write_news(tree).returncode == 0
    done = write_news(tree)
    assert done.returncode == 1
    assert "this version is released" in done.stderr
