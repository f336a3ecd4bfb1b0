# SPDX-License-Identifier: LGPL-2.1-or-later
"""packaging/move-catalog: what it does with catalogs of version 0.1, with the real file names."""

import importlib.machinery
import importlib.util
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest

_SCRIPT = Path(__file__).parents[2] / "packaging" / "move-catalog"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; nobody gets another owner."""
    loader = importlib.machinery.SourceFileLoader("move_catalog", str(_SCRIPT))
    spec = importlib.util.spec_from_loader("move_catalog", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr("shutil.chown", lambda *_arguments: None)
    return module


def catalog(path: Path, version: int, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE of_a_test (text)")
        connection.execute("INSERT INTO of_a_test VALUES (?)", (text,))
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def text_of(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("SELECT text FROM of_a_test").fetchone()[0])
    finally:
        connection.close()


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def test_the_catalog_moves_and_a_newer_one_stays_in_its_place(
    script: ModuleType, tmp_path: Path
) -> None:
    catalog(tmp_path / "catalog.sqlite", 5, "moved")
    (tmp_path / "catalog.sqlite-wal").write_bytes(b"")

    script.main(tmp_path)

    assert text_of(tmp_path / "service" / "catalog.sqlite") == "moved"
    assert (tmp_path / "service").stat().st_mode & 0o777 == 0o700
    assert version_of(tmp_path / "catalog.sqlite") == 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.sqlite", "service"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_second_run_changes_nothing(script: ModuleType, tmp_path: Path) -> None:
    catalog(tmp_path / "catalog.sqlite", 5, "moved")
    script.main(tmp_path)

    script.main(tmp_path)

    assert text_of(tmp_path / "service" / "catalog.sqlite") == "moved"
    assert version_of(tmp_path / "catalog.sqlite") == 1000


def test_a_new_installation_gets_the_newer_one_too(script: ModuleType, tmp_path: Path) -> None:
    script.main(tmp_path / "virtlayer")

    assert version_of(tmp_path / "virtlayer" / "catalog.sqlite") == 1000


def test_a_catalog_of_0_1_beside_a_newer_one_is_kept_and_reported(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog(tmp_path / "service" / "catalog.sqlite", 12, "newer")
    catalog(tmp_path / "catalog.sqlite", 5, "older")

    script.main(tmp_path)

    assert text_of(tmp_path / "service" / "catalog.sqlite") == "newer"
    assert text_of(tmp_path / "catalog.0.1") == "older"
    assert version_of(tmp_path / "catalog.sqlite") == 1000
    assert "virtlayer rescan" in capsys.readouterr().out


def test_a_damaged_catalog_moves_as_it_is(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"not a database, by any means")

    script.main(tmp_path)

    assert (tmp_path / "service" / "catalog.sqlite").read_bytes().startswith(b"not a database")
    assert version_of(tmp_path / "catalog.sqlite") == 1000
