# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pyproject.toml cannot say to setuptools: extensions, and a program that is no extension."""

import os
import shlex
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# pip runs this file without its folder in the path.
sys.path.insert(0, str(Path(__file__).parent))
from build_extensions import FLAGS, LINKER_FLAGS

GUARD = "daemon/virtlayer/guard.c"


class BuildCompiled(build_ext):
    """Builds the extensions, and beside the package's modules the program that starts others."""

    def run(self) -> None:
        """Build everything that is compiled."""
        super().run()
        objects = self.compiler.compile([GUARD], self.build_temp, extra_postargs=FLAGS)
        # Distributions harden what they link; setuptools tells its linker of libraries only.
        flags = [*LINKER_FLAGS, *shlex.split(os.environ.get("LDFLAGS", ""))]
        place, name = os.path.split(self._guard())
        self.compiler.link_executable(objects, name, place, extra_postargs=flags)

    def get_outputs(self) -> list[str]:
        """Everything that is built, for who keeps account of it."""
        return [*super().get_outputs(), self._guard()]

    def _guard(self) -> str:
        return str(Path(self.get_ext_fullpath("virtlayer.guard")).with_name("guard"))


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
        )
    ],
    cffi_modules=[
        "build_extensions.py:archive",
        "build_extensions.py:ext4",
        "build_extensions.py:sandbox",
    ],
)
