# SPDX-License-Identifier: LGPL-2.1-or-later
"""Applies layers to a directory as an ordinary user, which the tests that run as root are not.

``python -m tests.directory_user`` reads the layers and what to do with them from its standard
input, in pickled form, and writes what came of it.
"""

import asyncio
import os
import pickle
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.directories import build_directory, customize
from tests.images import LayerContent
from tests.ordinary_user import as_user
from virtlayer.layer.customize.customization import Customization
from virtlayer.layer.directory.session import FinishedDirectory

NOBODY = pwd.getpwnam("nobody")


def as_nobody(*argv: str | Path) -> list[str | Path]:
    """The command line that runs a program as an ordinary user."""
    return as_user(NOBODY.pw_uid if os.geteuid() == 0 else os.geteuid(), *argv)


@contextmanager
def users_directory() -> Iterator[Path]:
    """A directory of that user, below one that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="user-"))
    try:
        if os.geteuid() == 0:
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        yield path
    finally:
        shutil.rmtree(path)


def build_as_user(
    path: Path, layers: Iterable[LayerContent], customization: Customization | None = None
) -> FinishedDirectory:
    """Apply layers to a new directory, and customize it."""
    done = subprocess.run(
        as_nobody(sys.executable, "-m", "tests.directory_user", path),
        input=pickle.dumps((list(layers), customization)),
        capture_output=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr.decode()
    result = pickle.loads(done.stdout)  # noqa: S301 -- our own process wrote it
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, FinishedDirectory)
    return result


async def _build(path: Path) -> object:
    layers, customization = pickle.load(sys.stdin.buffer)  # noqa: S301 -- the test wrote it
    try:
        finished = await build_directory(path, layers)
        if customization:
            await customize(path, customization)
    except Exception as error:
        return error
    return finished


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(asyncio.run(_build(Path(sys.argv[1])))))
