# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds what pyproject.toml cannot describe: C extensions and C programs."""

import os
import shlex
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# pip runs this file without its folder in the path.
sys.path.insert(0, str(Path(__file__).parent))
from build_extensions import FLAGS, GUEST_FLAGS, GUEST_LINKER_FLAGS, LINKER_FLAGS

PROGRAMS = ("guard", "confine")
"""Programs in the package's folder, of one file each."""

GUEST = "guest/init"
"""The init of machines: all files of its folder, linked statically."""


class BuildCompiled(build_ext):
    """Builds the extensions, and the programs that start others, next to the modules."""

    def run(self) -> None:
        """Build everything that is compiled."""
        # What is in build/ may be of another CC or CFLAGS, which setuptools does not compare.
        self.force = True
        super().run()
        for name in PROGRAMS:
            self._build(name, [f"daemon/virtlayer/{name}.c"], FLAGS, LINKER_FLAGS)
        sources = sorted(str(file) for file in Path("daemon/virtlayer/guest").glob("*.c"))
        self._build(GUEST, sources, GUEST_FLAGS, GUEST_LINKER_FLAGS)

    def get_outputs(self) -> list[str]:
        """Return the paths of everything that is built."""
        return [*super().get_outputs(), *(str(self._path(name)) for name in (*PROGRAMS, GUEST))]

    def _build(
        self, name: str, sources: list[str], flags: list[str], linker_flags: list[str]
    ) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        objects = self.compiler.compile(sources, self.build_temp, extra_postargs=flags)
        # Distributions harden what they link; setuptools tells its linker of libraries only.
        hardening = shlex.split(os.environ.get("LDFLAGS", ""))
        self.compiler.link_executable(
            objects, path.name, str(path.parent), extra_postargs=[*linker_flags, *hardening]
        )

    def _path(self, name: str) -> Path:
        return Path(self.get_ext_fullpath("virtlayer.guard")).parent / name


setup(
    # Not in pyproject.toml, where setuptools wants a table before version 77 and a text after it.
    license="LGPL-2.1-or-later",
    cmdclass={"build_ext": BuildCompiled},
    ext_modules=[
        Extension(
            f"virtlayer.{name}",
            [source],
            extra_compile_args=FLAGS,
            extra_link_args=LINKER_FLAGS,
            py_limited_api=True,
        )
        for name, source in (
            ("allocation", "daemon/virtlayer/allocation.c"),
            ("file_changes", "daemon/virtlayer/file_changes.c"),
            ("keeper.calls", "daemon/virtlayer/keeper/calls.c"),
            ("service.hidden_memory", "daemon/virtlayer/service/hidden_memory.c"),
        )
    ],
    cffi_modules=[
        "build_extensions.py:archive",
        "build_extensions.py:ext4",
        "build_extensions.py:sandbox",
    ],
)
