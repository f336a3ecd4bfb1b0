# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian systems for machines, as archives of layers.

mmdebstrap makes each once, which takes a minute, and it is kept in ``.cache/`` of the checkout.
"""

import hashlib
import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.cache import kept

_CHECKOUT = Path(__file__).parents[2]
_SUITES = {"docker.io/library/debian:13": "trixie"}
"""What the base images of Containerfiles were made of."""


@dataclass(frozen=True, slots=True)
class Documented:
    """A Containerfile of the documentation.

    Attributes:
        base: The image that it begins with.
        command: The shell command that it runs.
        last: The rest.
    """

    base: str
    command: str
    last: str

    @property
    def suite(self) -> str:
        """The release of Debian that it begins with."""
        return _SUITES[self.base]


def documented(mark: str) -> Documented:
    """Return the Containerfile in docs/machines.md that has this word."""
    text = (_CHECKOUT / "docs/machines.md").read_text()
    [block] = [
        one for one in re.findall(r"```dockerfile\n(.*?)```", text, re.DOTALL) if mark in one
    ]
    joined = block.replace("\\\n", " ")
    found = re.fullmatch(r"FROM (\S+)\nRUN (.*)\n((?:CMD .*\n)?)", joined)
    assert found, f"not of the form FROM, RUN, CMD: {block}"
    return Documented(*found.groups())


def debian_archive(suite: str, *commands: str) -> bytes:
    """Return an archive of a Debian in which commands were run by a shell.

    Args:
        suite: The release.
        commands: What is run in it, as RUN in a Containerfile.
    """
    digest = hashlib.sha256("\0".join([suite, *commands]).encode()).hexdigest()
    make = partial(_make, suite, commands)
    return kept(f"debian-{digest[:16]}.tar", make).read_bytes()


def _make(suite: str, commands: tuple[str, ...], directory: Path) -> Path:
    hooks = [f'--customize-hook=chroot "$1" sh -ec {shlex.quote(one)}' for one in commands]
    made = directory / "debian.tar"
    # With apt, as the images of Debian for containers.
    command = ["mmdebstrap", "--quiet", "--variant=apt", *hooks, suite, str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made
