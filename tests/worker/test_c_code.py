# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C code: its tests in C, which see more than Python can, and the names that it exports."""

import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from build_extensions import FLAGS

from virtlayer import allocation
from virtlayer.keeper import calls
from virtlayer.worker.archive import _plain
from virtlayer.worker.ext4 import _ext4
from virtlayer.worker.sandbox import _sandbox

_TESTS = Path(__file__).with_name("c")
_CHECKOUT = Path(__file__).parents[2]
_WORKER = _CHECKOUT / "daemon/virtlayer/worker"
_LIBRARIES = ["-lext2fs", "-lcom_err", "-lnbd", "-lseccomp"]


def _compiled(source: Path, result: Path, *options: str) -> Path:
    argv: list[str | Path] = ["gcc", *FLAGS, *options, f"-I{_WORKER}/ext4", "-o", result, source]
    subprocess.run([*argv, *(() if "-c" in options else _LIBRARIES)], check=True)
    return result


@pytest.mark.parametrize("source", sorted(_TESTS.glob("test_*.c")), ids=lambda path: path.stem)
def test_in_c(source: Path, tmp_path: Path) -> None:
    program = _compiled(source, tmp_path / "program")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _symbols(file: Path, *options: str) -> set[str]:
    argv: list[str | Path] = ["nm", "--defined-only", "--format=posix", *options, file]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[0] for line in lines}


@pytest.mark.parametrize(
    "source", sorted(_WORKER.glob("*/*.c")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_external_c_symbols_have_our_prefix(source: Path, tmp_path: Path) -> None:
    # A sanitizer would add symbols of its own.
    compiled = _compiled(source, tmp_path / "object", "-c", "-fno-sanitize=all")
    symbols = _symbols(compiled, "--extern-only")
    assert {name for name in symbols if not name.startswith("vl_")} == set()


@pytest.mark.parametrize("extension", [allocation, calls, _plain, _ext4, _sandbox])
def test_extension_exports_only_its_init_function(extension: ModuleType) -> None:
    assert extension.__file__
    exported = _symbols(Path(extension.__file__), "--dynamic", "--extern-only")
    assert {name for name in exported if not name.startswith("PyInit_")} == set()
