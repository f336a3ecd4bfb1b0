# SPDX-License-Identifier: LGPL-2.1-or-later
"""`make lint-c`: compiles each C file with Debian 13's gcc and its analyzer; warnings are errors.

What cffi generates is left out. No object is kept.
"""

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from build_extensions import FLAGS, GUEST_FLAGS, LIBRARIES, pkg_config

_ROOT = Path(__file__).parents[1]
_CODE = "daemon/virtlayer"
_COMPILER = ["gcc-14", "-Werror", "-fanalyzer", "-c", "-o", "/dev/null"]
_INCLUDES = [
    f"-I{_CODE}/guest",
    f"-I{_CODE}/worker/ext4",
    f"-I{sysconfig.get_path('include')}",
    *pkg_config("--cflags", list(chain.from_iterable(LIBRARIES.values()))),
]
_EXCEPTIONS = {
    # The analyzer takes memory for lost that a structure of the caller's holds.
    f"{_CODE}/worker/ext4/growing.c": ["-Wno-analyzer-malloc-leak"],
}


def _passes(source: Path) -> bool:
    flags = GUEST_FLAGS if "guest" in source.parts else FLAGS
    exceptions = _EXCEPTIONS.get(str(source), [])
    command = [*_COMPILER, *flags, *exceptions, *_INCLUDES, str(source)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    return done.returncode == 0


def main() -> int:
    sources = [
        path.relative_to(_ROOT)
        for folder in ("daemon", "tests")
        for path in sorted((_ROOT / folder).rglob("*.c"))
    ]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(_passes, sources))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
