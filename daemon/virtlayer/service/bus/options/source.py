# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options for the access to a source."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import InvalidArgument
from virtlayer.service.bus.options.parsing import DESCRIPTOR, DESCRIPTORS, option
from virtlayer.service.source.access import Access
from virtlayer.service.source.platform import Platform, parse_platform
from virtlayer.service.source.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """The options of Inspect: access to a source, and the platform of the image."""

    platform: str | None = option("s")
    username: str | None = option("s")
    password: str | None = option("s", secret=True)
    authfile: str | None = option("s")
    auth_fd: int | None = option(DESCRIPTOR, secret=True)
    tls_verify: bool = option("b", default=True)
    cert_dir: str | None = option("s")
    cert_fds: Mapping[str, int] | None = option(DESCRIPTORS)
    source_fd: int | None = option(DESCRIPTOR, for_job=True)

    @property
    def wanted_platform(self) -> Platform | None:
        """Return the requested platform.

        Raises:
            InvalidArgument: It has another form than ``linux/arm64/v8``.
        """
        return None if self.platform is None else parse_platform(self.platform)

    def check_paths(self, source: Reference, *, session: bool) -> None:
        """Refuse paths that the service cannot read for a caller.

        Args:
            source: The source of the call.
            session: Whether the service runs as the caller.

        Raises:
            InvalidArgument: There is such a path, or an unnecessary descriptor.
        """
        if source.local_path is None and self.source_fd is not None:
            raise InvalidArgument(
                f'The option "source-fd" is for local sources, but {source} is in a registry.'
            )
        if session:
            return
        has_descriptor = self.source_fd is not None
        for name, value, instead in (
            ("source", None if has_descriptor else source.local_path, "source-fd"),
            ('option "authfile"', self.authfile, "auth-fd"),
            ('option "cert-dir"', self.cert_dir, "cert-fds"),
        ):
            if value is not None:
                raise InvalidArgument(
                    f"The {name} cannot be a path ({value}) on the system bus, because virtlayerd "
                    f'does not have your rights. Open the file and pass the option "{instead}", as '
                    "the command virtlayer does."
                )

    @property
    def access(self) -> Access:
        """Return the access to the source."""
        return Access(
            username=self.username,
            password=self.password,
            authfile=None if self.authfile is None else Path(self.authfile),
            auth_fd=self.auth_fd,
            tls_verify=self.tls_verify,
            cert_dir=None if self.cert_dir is None else Path(self.cert_dir),
            cert_fds=self.cert_fds,
            source_fd=self.source_fd,
        )
