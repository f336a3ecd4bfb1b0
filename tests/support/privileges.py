# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only root may do, in tests that root runs, or a user whose sudo asks for no password.

A test whose own process must be root says so: see ``root_tests.py``. What must not be done as root
is in ``ordinary_user.py``.

``python -m tests.support.privileges`` reads a function and its arguments from its standard input,
in pickled form, and writes what came of it.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from tests.support.ordinary_user import CHECKOUT

ROOTS_SETTING = "PYTHONDONTWRITEBYTECODE=1"
"""For a Python of root's: what it would write to the checkout would be in the way of the user's."""

_SUDO = () if os.geteuid() == 0 else ("sudo", "--non-interactive")


def as_root(*argv: str | Path) -> list[str | Path]:
    """The command line that runs a program as root."""
    return [*_SUDO, *argv]


def call_as_root[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of a module as root; return what it returns, or raise what it raises."""
    if os.geteuid() == 0:
        return function(*args, **kwargs)
    done = subprocess.run(
        as_root("env", ROOTS_SETTING, sys.executable, "-m", "tests.support.privileges"),
        input=pickle.dumps((function, args, kwargs)),
        capture_output=True,
        check=False,
        cwd=CHECKOUT,
    )
    assert done.returncode == 0, done.stderr.decode()
    result = pickle.loads(done.stdout)  # noqa: S301 -- our own process wrote it
    if isinstance(result, BaseException):
        raise result
    return cast(R, result)


def _answer() -> object:
    function, args, kwargs = pickle.load(sys.stdin.buffer)  # noqa: S301 -- the test wrote it
    try:
        return function(*args, **kwargs)
    except Exception as error:  # the caller's to judge
        return error


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(_answer()))
