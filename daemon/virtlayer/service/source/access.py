# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a source is reached: credentials, certificates, TLS; and with whose rights.

Credentials reach skopeo through an authfile (containers-auth.json(5)) with mode 0600 in a
directory of its own, never on a command line or in an environment.

What another user's call names is read with that user's rights: files beside a registry by a small
program that runs as him, before his call is answered, and a local image by a skopeo that does.
"""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from virtlayer.errors import InvalidArgument
from virtlayer.programs import Identity
from virtlayer.service.source.descriptors import content_of
from virtlayer.service.source.foreign_files import Certificates, certificates_as, content_as
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.scratch import scratch_directory
from virtlayer.settings import MIB

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
    credentials: bytes | None = field(default=None, repr=False)
    """The content of such a file."""
    tls_verify: bool = True
    """False: accept any certificate, and plain HTTP."""
    cert_dir: Path | None = None
    """A directory with CA certificates (``*.crt``) and client certificates (``*.cert, *.key``)."""
    certificates: Certificates | None = field(default=None, repr=False)
    """The files of such a directory."""
    identity: Identity | None = None
    """The user who named the paths; None for one who may read all that this process may."""

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password is None):
            raise InvalidArgument("A username needs a password, and a password a username.")
        if self.username is not None and (not self.username or ":" in self.username):
            raise InvalidArgument("A username must not be empty, and has no colon.")
        if sum(way is not None for way in self._ways) > 1:
            raise InvalidArgument(
                "Give the credentials in one way: username and password, authfile, or auth-fd."
            )
        for name, path in (("authfile", self.authfile), ("cert-dir", self.cert_dir)):
            if path is not None and not path.is_absolute():
                raise InvalidArgument(f"The path of {name} must be absolute.")

    @property
    def has_credentials(self) -> bool:
        """Whether there may be credentials in it."""
        return any(way is not None for way in self._ways)

    @property
    def _ways(self) -> tuple[object, ...]:
        return (self.username, self.authfile, self.auth_fd, self.credentials)

    async def settled(self) -> "Access":
        """Read what may change or close after a call: its descriptor, and another user's files.

        Returns:
            What needs neither of them any more.

        Raises:
            InvalidArgument: They do not have what they should have, or the user may not read them.
        """
        access, identity = self, self.identity
        if access.auth_fd is not None:
            content = await content_of(access.auth_fd, "auth-fd", _AUTHFILE_LIMIT)
            access = replace(access, auth_fd=None, credentials=_only_credentials(content))
        if identity is not None and access.authfile is not None:
            content = await content_as(identity, access.authfile, "authfile", _AUTHFILE_LIMIT)
            access = replace(access, authfile=None, credentials=_only_credentials(content))
        if identity is not None and access.cert_dir is not None:
            certificates = await certificates_as(identity, access.cert_dir)
            access = replace(access, cert_dir=None, certificates=certificates)
        return access


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
    access = await access.settled()
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
    async with contextlib.AsyncExitStack() as files:
        if access.certificates is not None:
            directory = await files.enter_async_context(scratch_directory(runtime))
            _write_private(directory, access.certificates)
            flags.append(f"--cert-dir={directory}")
        credentials = _credentials(access, reference.domain)
        if credentials is not None:
            directory = await files.enter_async_context(scratch_directory(runtime))
            _write_private(directory, {"auth.json": credentials})
            flags.append(f"--authfile={directory / 'auth.json'}")
        yield tuple(flags)


def _write_private(directory: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (directory / name).touch(mode=0o600, exist_ok=False)
        (directory / name).write_bytes(content)


def _credentials(access: Access, domain: str) -> bytes | None:
    if access.username is None:
        return access.credentials
    pair = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
    return json.dumps({"auths": {domain: {"auth": pair}}}).encode()


def _only_credentials(content: bytes) -> bytes:
    """The ``auths`` of an authfile; its ``credHelpers`` would name programs for us to run."""
    try:
        auths = json.loads(content)["auths"]
    except (ValueError, RecursionError, KeyError, TypeError):
        auths = None
    if not isinstance(auths, dict):
        raise InvalidArgument("What was given as an authfile is none: JSON with “auths”.")
    return json.dumps({"auths": auths}).encode()
