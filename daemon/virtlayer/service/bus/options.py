# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of the methods: parses an ``a{sv}`` into a typed value, or raises an error."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_next.signature import Variant

from virtlayer.errors import InvalidArgument, UnknownOption
from virtlayer.protocol.customization import id_ranges
from virtlayer.protocol.names import parse_volume_name
from virtlayer.service.bus.call import Call
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.source.access import Access
from virtlayer.service.source.platform import Platform, parse_platform
from virtlayer.service.source.reference import Reference
from virtlayer.sizes import check_virtual_size

CONFIDENTIAL = "confidential"
"""The metadata key of a field that must not appear in logs or details for polkit."""
_FOR_JOB = "for job"
"""The metadata key of a descriptor that is also needed after the call."""
_SIGNATURE = "signature"
_DESCRIPTOR = "h"
_DESCRIPTORS = "a{sh}"
"""Descriptors by names."""


def _option(
    signature: str, *, default: object = None, secret: bool = False, for_job: bool = False
) -> Any:
    metadata = {_SIGNATURE: signature, CONFIDENTIAL: secret, _FOR_JOB: for_job}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def is_descriptor(field: dataclasses.Field[Any]) -> bool:
    """Whether an option is a descriptor."""
    return bool(field.metadata[_SIGNATURE] == _DESCRIPTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """The options of Inspect: access to a source, and the platform of the image."""

    platform: str | None = _option("s")
    username: str | None = _option("s")
    password: str | None = _option("s", secret=True)
    authfile: str | None = _option("s")
    auth_fd: int | None = _option(_DESCRIPTOR, secret=True)
    tls_verify: bool = _option("b", default=True)
    cert_dir: str | None = _option("s")
    cert_fds: Mapping[str, int] | None = _option(_DESCRIPTORS)
    source_fd: int | None = _option(_DESCRIPTOR, for_job=True)

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
        for name, value, option in (
            ("source", None if has_descriptor else source.local_path, "source-fd"),
            ('option "authfile"', self.authfile, "auth-fd"),
            ('option "cert-dir"', self.cert_dir, "cert-fds"),
        ):
            if value is not None:
                raise InvalidArgument(
                    f"The {name} cannot be a path ({value}) on the system bus, because virtlayerd "
                    f'does not have your rights. Open the file and pass the option "{option}", as '
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


@dataclass(frozen=True, kw_only=True)  # no slots: PullOptions has two bases
class CustomizationOptions:
    """The options that customize a writable volume."""

    grow_filesystem: bool = _option("b", default=False)
    root_password: str | None = _option("s", secret=True)
    root_password_fd: int | None = _option(_DESCRIPTOR, secret=True)
    ssh_authorized_keys: Sequence[str] | None = _option("as")
    hostname: str | None = _option("s")
    uid_map: Sequence[Sequence[int]] | None = _option("a(uuu)")
    gid_map: Sequence[Sequence[int]] | None = _option("a(uuu)")

    def new_volume(self, name: str, size: int | None) -> NewVolume:
        """Return the requested volume.

        Args:
            name: Its name.
            size: Its virtual size in bytes; None for the image's.

        Raises:
            InvalidArgument: The name or an option is not valid.
        """
        return NewVolume(
            name=parse_volume_name(name),
            size=size,
            grow_filesystem=self.grow_filesystem,
            root_password=self.root_password,
            root_password_fd=self.root_password_fd,
            ssh_authorized_keys=tuple(self.ssh_authorized_keys or ()),
            hostname=self.hostname,
            uid_map=id_ranges(self.uid_map or ()),
            gid_map=id_ranges(self.gid_map or ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolumeOptions(CustomizationOptions):
    """The options of CreateVolume."""

    size: int | None = _option("t")


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions(SourceOptions, CustomizationOptions):
    """The options of Pull."""

    name: str | None = _option("s")
    format: str = _option("s", default="qcow2")
    cache: bool = _option("b", default=True)
    size: int | None = _option("t")
    volume: str | None = _option("s")
    volume_size: int | None = _option("t")
    id_map: str | None = _option("s")
    replace: bool = _option("b", default=False)

    def __post_init__(self) -> None:
        # Checked here, where the name of the option is known.
        if self.volume_size is not None:
            check_virtual_size('option "volume-size"', self.volume_size)

    @property
    def wanted_volume(self) -> NewVolume | None:
        """Return the requested volume; None if there is none.

        Raises:
            InvalidArgument: The options are invalid, or require a volume that was not requested.
        """
        if self.volume is not None:
            return self.new_volume(self.volume, self.volume_size)
        names = {field.name for field in dataclasses.fields(CustomizationOptions)}
        for field in dataclasses.fields(self):
            is_about_it = field.name in names | {"volume_size"}
            if is_about_it and getattr(self, field.name) != field.default:
                raise InvalidArgument(
                    f'The option "{field.name.replace("_", "-")}" requires the option "volume".'
                )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagOptions:
    """The options of TagImage."""

    replace: bool = _option("b", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """The options of Prune."""

    dry_run: bool = _option("b", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulateOptions:
    """The options of Populate."""

    due: bool = _option("b", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """The options of a method that has none."""


def parse_options[T](
    kind: type[T],
    options: Mapping[str, Variant],
    call: Call,
    belongings: contextlib.ExitStack | None = None,
) -> T:
    """Turn the options of a call into a value of this dataclass.

    Args:
        kind: ``auth_fd`` there is ``auth-fd`` on the bus.
        options: The options that the caller has sent.
        call: The call that has the descriptors.
        belongings: Owns the descriptors that are also needed after the call; None if the options
            have no such descriptors. The others are closed with the call.

    Raises:
        UnknownOption: The call has no such option.
        InvalidArgument: An option is of another type.
    """
    assert dataclasses.is_dataclass(kind)
    known = {field.name.replace("_", "-"): field for field in dataclasses.fields(kind)}
    values: dict[str, object] = {}
    for key, given in options.items():
        if key not in known:
            raise UnknownOption(
                f'Unknown option "{key}". Known: {", ".join(sorted(known)) or "none"}.'
            )
        field = known[key]
        expected = field.metadata[_SIGNATURE]
        if given.signature != expected:
            raise InvalidArgument(
                f'The option "{key}" must be of type "{expected}", not "{given.signature}".'
            )
        value = given.value
        if expected == _DESCRIPTOR and field.metadata[_FOR_JOB]:
            assert belongings is not None, f'no owner for the descriptor of "{key}"'
            value = call.take_descriptor(value, belongings)
        elif expected == _DESCRIPTOR:
            value = call.lend_descriptor(value)
        elif expected == _DESCRIPTORS:
            value = {name: call.lend_descriptor(at) for name, at in value.items()}
        values[field.name] = value
    return kind(**values)
