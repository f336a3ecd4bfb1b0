# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documents: their commands work as they stand there, and their links lead somewhere."""

from pathlib import Path

import pytest

from tests.examples.documents import blocks, links
from tests.examples.place import REPOSITORY, place

_DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
_WITH_COMMANDS = [
    document for document in _DOCUMENTS if any(not block.elsewhere for block in blocks(document))
]


@pytest.mark.parametrize("document", _WITH_COMMANDS, ids=lambda path: path.name)
def test_commands_work(document: Path, tmp_path: Path) -> None:
    script = "\n".join(block.commands for block in blocks(document) if not block.elsewhere)
    with place(tmp_path) as session:
        session.run("bash", "-euxo", "pipefail", "-c", script)


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    missing = [link for link in links(document) if not (document.parent / link).exists()]

    assert missing == []


def test_readme_names_every_folder() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    folders = {
        path.name
        for path in REPOSITORY.iterdir()
        if path.is_dir() and not path.name.startswith((".", "build", "__"))
    }

    assert {name for name in folders if f"| `{name}/" not in readme} == set()


@pytest.mark.parametrize("folder", ["docs", "docs/decisions"])
def test_index_names_every_document(folder: str) -> None:
    index = links(REPOSITORY / folder / "README.md")

    pages = {path.name for path in (REPOSITORY / folder).glob("*.md")} - {"README.md"}
    assert pages - set(index) == set()
