# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one thing that pyproject.toml cannot say to setuptools: which extensions cffi builds."""

from setuptools import setup

setup(
    cffi_modules=[
        "daemon/virtlayer/layer/ext4/build_extension.py:ffi",
        "daemon/virtlayer/layer/sandbox/build_extension.py:ffi",
    ]
)
