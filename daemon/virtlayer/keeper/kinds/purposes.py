# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kind of record for each purpose of a staging directory."""

from collections.abc import Mapping

from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.records import RecordKind

RECORD_KINDS: Mapping[Purpose, RecordKind] = {
    Purpose.LAYERS: RecordKind.LAYER,
    Purpose.VOLUME: RecordKind.VOLUME,
    Purpose.DISK: RecordKind.DISK,
    Purpose.BOOT: RecordKind.BOOT,
    Purpose.DIRECTORY: RecordKind.DIRECTORY,
    Purpose.CONTAINED_DIRECTORY: RecordKind.DIRECTORY,
}
