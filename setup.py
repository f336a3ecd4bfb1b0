# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pyproject.toml cannot say to setuptools: which extensions cffi builds, and a program."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

GUARD = "daemon/virtlayer/guard.c"


class BuildCompiled(build_ext):
    """Builds the extensions, and beside the package's modules the program that starts others."""

    def run(self) -> None:
        """Build everything that is compiled."""
        super().run()
        place = Path(self.get_ext_fullpath("virtlayer.guard")).parent
        flags = ["-O2", "-Wall", "-Wextra"]
        objects = self.compiler.compile([GUARD], self.build_temp, extra_postargs=flags)
        self.compiler.link_executable(objects, "guard", str(place))


setup(
    cmdclass={"build_ext": BuildCompiled},
    cffi_modules=[
        "daemon/virtlayer/layer/ext4/build_extension.py:ffi",
        "daemon/virtlayer/layer/sandbox/build_extension.py:ffi",
    ],
)
