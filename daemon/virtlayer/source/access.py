# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a source is reached: credentials, certificates, TLS.

Credentials reach skopeo through an authfile (containers-auth.json(5)) with mode 0600 in a
directory of its own, never on a command line or in an environment.
"""

import base64
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from virtlayer.config import MIB
from virtlayer.errors import InvalidArgument
from virtlayer.source.descriptors import content_of
from virtlayer.source.reference import Reference

_AUTHFILE_LIMIT = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a source; ``repr()`` shows no secret.

    Raises:
        InvalidArgument: The values do not fit together.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authfile: Path | None = None
    """A file as ``skopeo login`` writes it."""
    auth_fd: int | None = None
    """A descriptor to read the content of such a file from; it stays the caller's to close."""
    tls_verify: bool = True
    """False: accept any certificate, and plain HTTP."""
    cert_dir: Path | None = None
    """A directory with CA certificates (``*.crt``) and client certificates (``*.cert, *.key``)."""

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password is None):
            raise InvalidArgument("A username needs a password, and a password a username.")
        if self.username is not None and (not self.username or ":" in self.username):
            raise InvalidArgument("A username must not be empty, and has no colon.")
        ways = (self.username, self.authfile, self.auth_fd)
        if sum(way is not None for way in ways) > 1:
            raise InvalidArgument(
                "Give the credentials in one way: username and password, authfile, or auth-fd."
            )
        for name, path in (("authfile", self.authfile), ("cert-dir", self.cert_dir)):
            if path is not None and not path.is_absolute():
                raise InvalidArgument(f"The path of {name} must be absolute.")


@contextlib.asynccontextmanager
async def skopeo_flags(
    access: Access, reference: Reference, runtime: Path
) -> AsyncIterator[tuple[str, ...]]:
    """Yield what skopeo's commands need on their command line to reach ``reference``.

    Args:
        access: The caller's credentials and certificates.
        reference: Whose registry the credentials are for.
        runtime: A directory in memory, below which a private authfile lives meanwhile.

    Raises:
        InvalidArgument: The descriptor or the files do not have what they should have.
    """
    if reference.domain is None:
        yield ()
        return
    flags = []
    if not access.tls_verify:
        # Not given otherwise: registries.conf may then say that a registry is insecure.
        flags.append("--tls-verify=false")
    if access.cert_dir is not None:
        if not access.cert_dir.is_dir():
            raise InvalidArgument(f"The cert-dir {access.cert_dir} is not a directory.")
        flags.append(f"--cert-dir={access.cert_dir}")
    if access.authfile is not None:
        # skopeo takes a file that is not there for one without credentials.
        if not access.authfile.is_file():
            raise InvalidArgument(f"The authfile {access.authfile} is not there.")
        flags.append(f"--authfile={access.authfile}")
    content = await _private_credentials(access, reference.domain)
    if content is None:
        yield tuple(flags)
        return
    with _private_file(content, runtime) as authfile:
        yield (*flags, f"--authfile={authfile}")


@contextlib.contextmanager
def _private_file(content: bytes, runtime: Path) -> Iterator[Path]:
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="auth-", dir=runtime) as directory:
        authfile = Path(directory) / "auth.json"
        authfile.touch(mode=0o600, exist_ok=False)
        authfile.write_bytes(content)
        yield authfile


async def _private_credentials(access: Access, domain: str) -> bytes | None:
    if access.username is not None:
        pair = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
        return json.dumps({"auths": {domain: {"auth": pair}}}).encode()
    if access.auth_fd is not None:
        return _only_credentials(await content_of(access.auth_fd, "auth-fd", _AUTHFILE_LIMIT))
    return None


def _only_credentials(content: bytes) -> bytes:
    """The ``auths`` of an authfile; its ``credHelpers`` would name programs for us to run."""
    try:
        auths = json.loads(content)["auths"]
    except (ValueError, RecursionError, KeyError, TypeError):
        auths = None
    if not isinstance(auths, dict):
        raise InvalidArgument("What auth-fd gives is not an authfile: JSON with “auths”.")
    return json.dumps({"auths": auths}).encode()
