# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loads libvirt's Python binding when it is first used.

With the libraries that come along it takes 11 MB and 10 ms. A daemon that is asked which jobs and
images there are needs none of that; and the first job loads it in a thread of ``connection``, while
skopeo starts.
"""

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libvirt

__all__ = ["libvirt"]


def _lazy(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    libvirt = _lazy("libvirt")
