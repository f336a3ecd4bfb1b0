# SPDX-License-Identifier: LGPL-2.1-or-later
"""Applies layers to a directory as an ordinary user, which the tests that run as root are not.

``python -m tests.support.directory_user`` reads the layers and what to do with them from its
standard input, in pickled form, and writes what came of it.
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

from tests.support.directories import build_directory, customize
from tests.support.images import LayerContent
from tests.support.ordinary_user import as_user
from virtlayer.protocol.customization import Customization
from virtlayer.service.workers.directory import FinishedDirectory

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
        as_nobody(sys.executable, "-m", "tests.support.directory_user", path),
        input=pickle.dumps((list(layers), customization)),
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
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
