# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documents: their commands work unchanged, and the files that they name exist."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.examples.documents import blocks, links
from tests.examples.place import REPOSITORY
from tests.examples.reader import is_run, reading

_PACKAGE = REPOSITORY / "daemon" / "virtlayer"
_PROCESSES = ("client", "service", "keeper", "worker", "rbd")
_README_LINES = 30
_ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
_DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *_PACKAGE.glob("*/*.md")]
)
_WITH_COMMANDS = [
    document for document in _DOCUMENTS if any(is_run(block) for block in blocks(document))
]


@pytest.mark.root
@pytest.mark.parametrize("kind", ["user", "root"])
@pytest.mark.parametrize("document", _WITH_COMMANDS, ids=lambda path: path.name)
def test_commands_work(document: Path, kind: str) -> None:
    with reading(kind, document) as command:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    missing = [link for link in links(document) if not (document.parent / link).exists()]

    assert missing == []


def test_contributors_find_every_folder() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {
        path.name
        for path in REPOSITORY.iterdir()
        if path.is_dir() and not path.name.startswith((".", "build", "__"))
    }

    assert {name for name in folders if f"| `{name}/" not in page} == set()


@pytest.mark.parametrize("folder", ["docs", "docs/decisions"])
def test_index_names_every_document(folder: str) -> None:
    index = links(REPOSITORY / folder / "README.md")

    pages = {path.name for path in (REPOSITORY / folder).glob("*.md")} - {"README.md"}
    assert pages - set(index) == set()


@pytest.mark.parametrize("process", _PROCESSES)
def test_each_process_has_a_short_readme(process: str) -> None:
    readme = (_PACKAGE / process / "README.md").read_text(encoding="utf-8")

    assert len(readme.splitlines()) <= _README_LINES
    questions = ("runs as", "trusted input", "untrusted input", "may import", "may not import")
    assert [question for question in questions if f"| {question} |" not in readme] == []
    assert "## If it is compromised" in readme
    assert "## Accepted" in readme


def test_map_names_every_folder() -> None:
    page = _ARCHITECTURE.read_text(encoding="utf-8").partition("## Map")[2]
    named = re.findall(r"^\| `([a-z0-9_/]+)/` \|", page, re.MULTILINE)

    folders = {str(path.relative_to(_PACKAGE)) for path in _folders_below(_PACKAGE)} - {"."}
    folders |= {str(path.relative_to(REPOSITORY)) for path in _folders_below(REPOSITORY / "tests")}
    assert sorted(named) == sorted(folders)


def test_steps_name_files_that_exist() -> None:
    page = _ARCHITECTURE.read_text(encoding="utf-8")
    named = re.findall(r"`([a-z0-9_/]+\.py)`", page.partition("step by step")[2])

    assert [name for name in named if not (_PACKAGE / name).is_file()] == []


def _folders_below(parent: Path) -> set[Path]:
    """The folders with files of ours: not those that only have what Python has compiled."""
    files = (path for path in parent.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.parent for path in files}
