# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pyproject.toml cannot say to setuptools: extensions, and a program that is no extension."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FLAGS = ["-O2", "-Wall", "-Wextra"]
GUARD = "daemon/virtlayer/guard.c"


class BuildCompiled(build_ext):
    """Builds the extensions, and beside the package's modules the program that starts others."""

    def run(self) -> None:
        """Build everything that is compiled."""
        super().run()
        place = Path(self.get_ext_fullpath("virtlayer.guard")).parent
        objects = self.compiler.compile([GUARD], self.build_temp, extra_postargs=FLAGS)
        self.compiler.link_executable(objects, "guard", str(place))


setup(
    cmdclass={"build_ext": BuildCompiled},
    ext_modules=[
        Extension(
            "virtlayer.allocation",
            ["daemon/virtlayer/allocation.c"],
            extra_compile_args=FLAGS,
            py_limited_api=True,
        )
    ],
    cffi_modules=[
        "daemon/virtlayer/layer/build_extension.py:ffi",
        "daemon/virtlayer/layer/ext4/build_extension.py:ffi",
        "daemon/virtlayer/layer/sandbox/build_extension.py:ffi",
    ],
)
