# SPDX-License-Identifier: LGPL-2.1-or-later
"""The validated types of the fields of a record."""

import re
from collections.abc import Callable
from typing import Annotated

from virtlayer.errors import InvalidArgument, MalformedLayer
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.checks import LayerName, Uuid, VolumeName, at_most
from virtlayer.protocol.kernel_header import VERSION as KERNEL_VERSION
from virtlayer.protocol.names import parse_image_name
from virtlayer.protocol.os_ids import OS_ID
from virtlayer.protocol.packets import Malformed
from virtlayer.service.source.digest import is_digest
from virtlayer.service.source.image import parse_config

__all__ = [
    "BootSource",
    "BootVolume",
    "Bytes",
    "Config",
    "ConfigOfVolume",
    "Digest",
    "HostId",
    "ImageName",
    "KernelVersion",
    "LayerName",
    "Microseconds",
    "OsId",
    "Text",
    "Tools",
    "Uid",
    "Uuid",
    "VolumeId",
    "VolumeName",
]

NO_CONFIG = "{}"
"""The config of a disk artifact, which has no config of its own."""
_TEXT_LIMIT = 4096
"""The limit in characters."""
_VOLUME_ID = re.compile(r"([0-9a-f]{64})?")
_BOOT_SOURCE = re.compile(r"layer-[0-9a-f]{64}(\.qcow2)?|host-[0-9a-f]{64}")
_HOST_ID = re.compile(r"[0-9a-f]{32}")


def _is_image_name(text: str) -> None:
    try:
        parse_image_name(text)
    except InvalidArgument as error:
        raise Malformed("not a name of an image") from error


def _is_config(text: str) -> None:
    try:
        parse_config(text.encode())
    except (MalformedLayer, UnicodeEncodeError) as error:
        raise Malformed("not the config of an image") from error


def _is_config_or_none(text: str) -> None:
    if text != NO_CONFIG:
        _is_config(text)


def _is_text(text: str) -> None:
    # Control characters and surrogates are not printable; surrogates cannot be encoded.
    if not text.isprintable() or len(text) > _TEXT_LIMIT:
        raise Malformed("not a printable text")


def _that(condition: Callable[[str], object], what: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not condition(text):
            raise Malformed(f"not {what}")

    return check


Bytes = Annotated[int, at_most(2**63 - 1)]
BootSource = Annotated[str, _that(_BOOT_SOURCE.fullmatch, "a source of a kernel")]
"""The top layer of an image, or ``host-<sha256>`` for a kernel of a host."""
BootVolume = Annotated[str, _that(is_boot_volume, "a name of a kernel or an initrd")]
Config = Annotated[str, _is_config]
"""The JSON text of an OCI config."""
ConfigOfVolume = Annotated[str, _is_config_or_none]
"""The JSON text of an OCI config, or ``NO_CONFIG``."""
Digest = Annotated[str, _that(is_digest, "a digest")]
HostId = Annotated[str, _that(_HOST_ID.fullmatch, "an id of a host")]
"""The ID of a host, computed by ``machines.host``."""
ImageName = Annotated[str, _is_image_name]
KernelVersion = Annotated[str, _that(KERNEL_VERSION.fullmatch, "a version of a kernel")]
Microseconds = Annotated[int, at_most(2**63 - 1)]
"""A time in microseconds since 1970."""
OsId = Annotated[str, _that(OS_ID.fullmatch, "an id of libosinfo")]
"""The libosinfo id of an operating system; "" if unknown."""
Text = Annotated[str, _is_text]
Tools = Annotated[str, _that(_VOLUME_ID.fullmatch, "a digest")]
"""What our initrd was composed of; "" if there is none."""
Uid = Annotated[int, at_most(2**32 - 1)]
VolumeId = Annotated[str, _that(_VOLUME_ID.fullmatch, "an id of a volume")]
"""The ID of a volume, computed by ``chain.identity``; "" if it is not known."""
