# SPDX-License-Identifier: LGPL-2.1-or-later
"""The access to a source: credentials, certificates, TLS, and the descriptor of a local one.

Credentials reach skopeo through an authfile (containers-auth.json(5)) with mode 0600 in a
directory of its own, never on a command line or in an environment. skopeo always gets an authfile,
because it would otherwise send the logins of the user that it runs as.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.names import NAME_LIMIT
from virtlayer.service.source.host_certificates import SUFFIXES
from virtlayer.service.source.logins import Logins, authfile, login_of, parse_logins
from virtlayer.service.source.passed_descriptor import content_of
from virtlayer.service.source.reference import Reference
from virtlayer.service.source.scratch import scratch_directory
from virtlayer.sizes import KIB, MIB, human_size

type Certificates = Mapping[str, bytes]
"""Certificates and keys by file name."""

_AUTHFILE_LIMIT = MIB
_CERTIFICATES_LIMIT = 12
"""The limit of descriptors; a D-Bus message can carry 16."""
_CERTIFICATE_LIMIT = 256 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The settings for the access to a source; ``repr()`` shows no secret.

    Raises:
        InvalidArgument: The values contradict each other.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authfile: Path | None = None
    """The path of an authfile in the format of ``skopeo login``."""
    auth_fd: int | None = None
    """A descriptor to read the content of an authfile from; the caller closes it."""
    logins: Logins | None = field(default=None, repr=False)
    """The content of an authfile."""
    tls_verify: bool = True
    """False: accept any certificate, and plain HTTP."""
    cert_dir: Path | None = None
    """A directory with CA certificates (``*.crt``) and client certificates (``*.cert, *.key``)."""
    cert_fds: Mapping[str, int] | None = None
    """Descriptors of the files of a certificate directory; the caller closes them."""
    certificates: Certificates | None = field(default=None, repr=False)
    """The files of a certificate directory."""
    configured: bool = False
    """Whether these values are from the administrator of this host, not from a caller."""
    source_fd: int | None = None
    """The file or directory of a local source; the caller closes it."""

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password is None):
            raise InvalidArgument(
                'The option "username" and the option "password" require each other.'
            )
        if self.username is not None and (not self.username or ":" in self.username):
            raise InvalidArgument(
                'Invalid option "username": it must not be empty or contain a colon.'
            )
        ways = (self.username, self.authfile, self.auth_fd, self.logins)
        if sum(way is not None for way in ways) > 1:
            raise InvalidArgument(
                'Only one of these can be used: the option "username", the option "authfile", the '
                'option "auth-fd".'
            )
        if self.cert_dir is not None and self.cert_fds is not None:
            raise InvalidArgument(
                'The option "cert-dir" and the option "cert-fds" exclude each other.'
            )
        for name, path in (("authfile", self.authfile), ("cert-dir", self.cert_dir)):
            if path is not None and not path.is_absolute():
                raise InvalidArgument(f"The path of {name} must be absolute.")
        _check_file_names(tuple(self.cert_fds or ()))

    @property
    def has_certificates(self) -> bool:
        """Whether the caller has passed certificates."""
        return (self.cert_dir, self.cert_fds, self.certificates) != (None, None, None)

    @property
    def has_client_key(self) -> bool:
        """Return whether the certificates may have a key that a registry accepts as credentials."""
        names = [*(self.certificates or ()), *(self.cert_fds or ())]
        if self.cert_dir is not None:
            # skopeo reports a directory that cannot be listed; until then it may have a key.
            try:
                names += [path.name for path in self.cert_dir.iterdir()]
            except OSError:
                return True
        return any(name.endswith((".cert", ".key")) for name in names)

    def logins_at(self, registry: str) -> Logins:
        """Return the logins, once the access is settled.

        Args:
            registry: ``host[:port]`` of the registry for the user name and password.
        """
        if self.username is not None and self.password is not None:
            return login_of(registry, self.username, self.password)
        return self.logins or {}

    def or_authfile(self, path: Path | None) -> "Access":
        """Return the same access, with this authfile if there are no credentials."""
        anonymous = (self.username, self.authfile, self.auth_fd, self.logins) == (None,) * 4
        return replace(self, authfile=path) if anonymous else self

    async def settled(self, deadline: float) -> "Access":
        """Read the secrets from the passed descriptors, and the authfile.

        Args:
            deadline: The result of ``secrets_deadline``.

        Returns:
            The access without these descriptors.

        Raises:
            InvalidArgument: Their content is invalid.
        """
        access = self
        if access.auth_fd is not None:
            name = 'The option "auth-fd"'
            content = await content_of(access.auth_fd, name, _AUTHFILE_LIMIT, deadline)
            access = replace(access, auth_fd=None, logins=parse_logins(content, name))
        if access.authfile is not None:
            name = f"The authfile {access.authfile}"
            content = await asyncio.to_thread(_content_of_file, access.authfile, name)
            access = replace(access, authfile=None, logins=parse_logins(content, name))
        if access.cert_fds is not None:
            certificates = {
                name: await content_of(
                    descriptor, f'{name} in the option "cert-fds"', _CERTIFICATE_LIMIT, deadline
                )
                for name, descriptor in access.cert_fds.items()
            }
            access = replace(access, cert_fds=None, certificates=certificates)
        return access


@contextlib.asynccontextmanager
async def skopeo_flags(
    access: Access, logins: Logins, reference: Reference, runtime: Path
) -> AsyncIterator[tuple[str, ...]]:
    """Yield the flags of skopeo's commands for the access to ``reference``.

    Args:
        access: The caller's certificates; settled.
        logins: The logins that skopeo may send.
        reference: The source.
        runtime: A directory in memory, where a private authfile is created temporarily.

    Raises:
        InvalidArgument: The directory of certificates does not exist.
    """
    async with contextlib.AsyncExitStack() as files:
        directory = await files.enter_async_context(scratch_directory(runtime))
        _write_private(directory, {"auth.json": authfile(logins)})
        flags = [f"--authfile={directory / 'auth.json'}"]
        if reference.domain is not None:
            if not access.tls_verify:
                # Otherwise omitted: then registries.conf may set a registry as insecure.
                flags.append("--tls-verify=false")
            if access.cert_dir is not None:
                _check_directory(access.cert_dir)
                flags.append(f"--cert-dir={access.cert_dir}")
            if access.certificates is not None:
                directory = await files.enter_async_context(scratch_directory(runtime))
                _write_private(directory, access.certificates)
                flags.append(f"--cert-dir={directory}")
        yield tuple(flags)


def _check_file_names(names: tuple[str, ...]) -> None:
    if len(names) > _CERTIFICATES_LIMIT:
        raise InvalidArgument(
            f'The option "cert-fds" has {len(names)} certificates; the limit is '
            f"{_CERTIFICATES_LIMIT}."
        )
    for name in names:
        is_file_name = name.isprintable() and "/" not in name and len(name.encode()) <= NAME_LIMIT
        if not is_file_name or not name.endswith(SUFFIXES):
            raise InvalidArgument(
                f'The option "cert-fds" has an invalid file name, "{name[:80]}": a certificate or '
                f"key is named *{', *'.join(SUFFIXES)}."
            )


def _check_directory(path: Path) -> None:
    try:
        is_directory = path.is_dir()
    except OSError as error:
        raise InvalidArgument(
            f'The option "cert-dir": cannot read {path}: {error.strerror}.'
        ) from error
    if not is_directory:
        raise InvalidArgument(f'The option "cert-dir": {path} is not a directory.')


def _write_private(directory: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (directory / name).touch(mode=0o600, exist_ok=False)
        (directory / name).write_bytes(content)


def _content_of_file(path: Path, name: str) -> bytes:
    """Return the content of a file of the administrator or of the session's own user."""
    try:
        if not path.is_file():
            raise InvalidArgument(f"{name} does not exist or is not a regular file.")
        with path.open("rb") as file:
            content = file.read(_AUTHFILE_LIMIT + 1)
    except PermissionError as error:
        raise InvalidArgument(
            f"{name} cannot be read: {error.strerror}. Allow the service's group to read it "
            f"(chgrp {os.getegid()} {path}; chmod 640 {path})."
        ) from error
    except OSError as error:
        raise InvalidArgument(f"{name} cannot be read: {error.strerror}.") from error
    if len(content) > _AUTHFILE_LIMIT:
        raise InvalidArgument(f"{name} is larger than {human_size(_AUTHFILE_LIMIT)}.")
    return content
