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
from build_extensions import FLAGS, LINKER_FLAGS

PROGRAMS = ("guard", "confine")
"""Programs in the package's folder, of one file each."""


class BuildCompiled(build_ext):
    """Builds the extensions, and the programs that start others, next to the modules."""

    def run(self) -> None:
        """Build everything that is compiled."""
        super().run()
        # Distributions harden what they link; setuptools tells its linker of libraries only.
        flags = [*LINKER_FLAGS, *shlex.split(os.environ.get("LDFLAGS", ""))]
        for path in self._programs():
            place, name = os.path.split(path)
            source = f"daemon/virtlayer/{name}.c"
            objects = self.compiler.compile([source], self.build_temp, extra_postargs=FLAGS)
            self.compiler.link_executable(objects, name, place, extra_postargs=flags)

    def get_outputs(self) -> list[str]:
        """Return the paths of everything that is built."""
        return [*super().get_outputs(), *self._programs()]

    def _programs(self) -> list[str]:
        return [
            str(Path(self.get_ext_fullpath(f"virtlayer.{name}")).with_name(name))
            for name in PROGRAMS
        ]


setup(
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
