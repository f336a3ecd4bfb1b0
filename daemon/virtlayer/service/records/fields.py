# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of a record, as types that validate."""

import re
from collections.abc import Callable
from typing import Annotated

from virtlayer.errors import InvalidArgument, MalformedLayer
from virtlayer.protocol.checks import LayerName, VolumeName, at_most
from virtlayer.protocol.names import parse_image_name
from virtlayer.protocol.packets import Malformed
from virtlayer.service.source.digest import is_digest
from virtlayer.service.source.image import parse_config

__all__ = [
    "Bytes",
    "Config",
    "ConfigOfVolume",
    "Digest",
    "ImageName",
    "LayerName",
    "Microseconds",
    "Text",
    "Uid",
    "VolumeId",
    "VolumeName",
]

NO_CONFIG = "{}"
"""The config of what has none: of an artifact with a disk in it."""
_TEXT_LIMIT = 4096
"""Characters."""
_VOLUME_ID = re.compile(r"([0-9a-f]{64})?")


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
    # Not printable are control characters, and surrogates, which no message and no file can hold.
    if not text.isprintable() or len(text) > _TEXT_LIMIT:
        raise Malformed("not a printable text")


def _that(condition: Callable[[str], object], what: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not condition(text):
            raise Malformed(f"not {what}")

    return check


Bytes = Annotated[int, at_most(2**63 - 1)]
Config = Annotated[str, _is_config]
"""An OCI config, JSON."""
ConfigOfVolume = Annotated[str, _is_config_or_none]
"""The same, or ``NO_CONFIG``."""
Digest = Annotated[str, _that(is_digest, "a digest")]
ImageName = Annotated[str, _is_image_name]
Microseconds = Annotated[int, at_most(2**63 - 1)]
"""Since 1970."""
Text = Annotated[str, _is_text]
Uid = Annotated[int, at_most(2**32 - 1)]
VolumeId = Annotated[str, _that(_VOLUME_ID.fullmatch, "an id of a volume")]
"""``chain.identity`` gives it; "" if it is not known."""
