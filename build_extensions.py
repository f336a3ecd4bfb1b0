# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C extensions, which setup.py builds with cffi, one variable for each.

Each folder with C code has headers that say what Python may use of it. cffi reads these headers,
and the C compiler checks them against the code, so a struct that changed its layout or a function
that changed its parameters is an error here and not a crash later.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cffi import FFI

# Without -Werror: a user's compiler may know more warnings than ours. See `make lint-c`.
FLAGS = ["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"]
LINKER_FLAGS = []
# It runs in machines, without any library, and without a sanitizer's.
GUEST_FLAGS = [*FLAGS, "-D_GNU_SOURCE"]
GUEST_LINKER_FLAGS = ["-static", "-s"]
if "SANITIZE" in os.environ:
    LINKER_FLAGS = ["-fsanitize=address,undefined"]
    FLAGS += [*LINKER_FLAGS, "-fno-sanitize-recover=all", "-g"]

LIBRARIES = {"worker/ext4": ["ext2fs", "com_err", "libnbd"], "worker/sandbox": ["libseccomp"]}
"""Names of packages of pkg-config, for the folders that need them."""

_ROOT = Path(__file__).parent
_FOR_THE_COMPILER_ALONE = ("#include", "#pragma")


def extension(folder: str, module: str, headers: Sequence[str]) -> FFI:
    """An extension of all the C code in one folder.

    Args:
        folder: Below the package, with slashes.
        module: The name of the extension in that folder.
        headers: The headers that Python may use, without their suffix.
    """
    libraries = LIBRARIES.get(folder, [])
    path = Path("daemon/virtlayer") / folder
    ffi = FFI()
    for header in headers:
        ffi.cdef(_declarations(_ROOT / path / f"{header}.h"))
    ffi.set_source(
        f"virtlayer.{folder.replace('/', '.')}.{module}",
        "".join(f'#include "{header}.h"\n' for header in headers),
        # Relative, as setuptools wants the sources of an extension.
        sources=sorted(str(path / file.name) for file in (_ROOT / path).glob("*.c")),
        include_dirs=[str(_ROOT / path)],
        depends=[str(file) for file in (_ROOT / path).glob("*.h")],
        extra_compile_args=[*FLAGS, *pkg_config("--cflags", libraries)],
        extra_link_args=[*LINKER_FLAGS, *pkg_config("--libs", libraries)],
    )
    return ffi


def _declarations(header: Path) -> str:
    lines = header.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_FOR_THE_COMPILER_ALONE))


def pkg_config(flag: str, libraries: Sequence[str]) -> list[str]:
    """Return the flags of libraries."""
    if not libraries:
        return []
    command = ["/usr/bin/env", "pkg-config", flag, *libraries]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


archive = extension("worker/archive", "_plain", ["plain"])
sandbox = extension("worker/sandbox", "_sandbox", ["filter", "rights"])
ext4 = extension("worker/ext4", "_ext4", ["node", "writer", "errors"])
