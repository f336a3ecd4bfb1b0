# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that another user's call names, read by programs that run as that user.

So there is no moment between looking who may read a path and reading it. Those programs are in that
user's hands, as all of his processes are: what they print is not believed to be more than bytes.
"""

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path

from virtlayer.errors import InvalidArgument
from virtlayer.programs import Identity, running
from virtlayer.service.source.host_certificates import SUFFIXES
from virtlayer.settings import KIB

type Certificates = Mapping[str, bytes]
"""Certificates and keys by the names of their files."""

_CERTIFICATES_LIMIT = 32
_CERTIFICATE_LIMIT = 256 * KIB
_NAMES_LIMIT = 64 * KIB
_SECONDS = 10


async def content_as(identity: Identity, path: Path, what: str, limit: int) -> bytes:
    """Read a file with a user's rights.

    Args:
        identity: The user.
        path: The file.
        what: What the call names it as, for errors.
        limit: The most bytes.

    Raises:
        InvalidArgument: He cannot read it, it does not end, or it is too long.
    """
    command = ["head", f"--bytes={limit + 1}", "--", str(path)]
    return await _output_as(identity, command, f"The {what} {path}", limit)


async def certificates_as(identity: Identity, directory: Path) -> Certificates:
    """Read the certificates of a directory with a user's rights.

    Raises:
        InvalidArgument: He cannot read it, or it has too much in it.
    """
    # With a slash behind it, find(1) starts in the directory that a symbolic link leads to.
    command = ["find", f"{directory}/", "-maxdepth", "1", "-name", "*.*", "-printf", r"%f\0"]
    output = await _output_as(identity, command, f"The cert-dir {directory}", _NAMES_LIMIT)
    names = [name for name in output.decode(errors="replace").split("\0") if _counts(name)]
    if len(names) > _CERTIFICATES_LIMIT:
        raise InvalidArgument(
            f"The cert-dir {directory} has more than {_CERTIFICATES_LIMIT} certificates in it."
        )
    return {
        name: await content_as(identity, directory / name, "certificate", _CERTIFICATE_LIMIT)
        for name in sorted(names)
    }


def _counts(name: str) -> bool:
    return "/" not in name and name.endswith(SUFFIXES)


async def _output_as(
    identity: Identity, command: Sequence[str | Path], subject: str, limit: int
) -> bytes:
    """What a program prints, if it does so soon and within the limit."""
    output = bytearray()
    try:
        async with (
            asyncio.timeout(_SECONDS),
            running(command, stdout=PIPE, identity=identity) as program,
        ):
            while len(output) <= limit:
                chunk = await program.stdout.read(limit + 1 - len(output))
                if not chunk:
                    break
                output += chunk
            else:
                raise InvalidArgument(f"{subject} is too long: more than {limit} bytes.")
            if await program.wait() != 0:
                reason = program.stderr_tail.rpartition(": ")[2]
                raise InvalidArgument(f"{subject} cannot be read with your rights: {reason}.")
    except TimeoutError:
        raise InvalidArgument(f"{subject} does not end within {_SECONDS} seconds.") from None
    return bytes(output)
