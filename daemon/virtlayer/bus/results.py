# SPDX-License-Identifier: LGPL-2.1-or-later
"""What operations return, as ``a{sv}``."""

import functools

from dbus_next.signature import Variant

from virtlayer.bus.names import image_path
from virtlayer.bus.values import variants
from virtlayer.operations.inspect import Inspection
from virtlayer.operations.pull import PullResult


@functools.singledispatch
def result_variants(result: object) -> dict[str, Variant]:
    """Return the result of an operation as it goes on the bus; None has nothing in it."""
    assert result is None, f"nobody said how {type(result)} goes on the bus"
    return {}


@result_variants.register
def _(result: PullResult) -> dict[str, Variant]:
    return variants(
        {
            "digest": ("s", result.digest),
            "image": ("o", image_path(result.image)),
            "name": ("s", result.name),
            "volume": ("s", result.volume),
            "path": ("s", str(result.path)),
            "volumes": ("as", result.volumes),
            "layers-built": ("u", result.layers_built),
            "layers-reused": ("u", result.layers_reused),
            "bytes-downloaded": ("t", result.bytes_downloaded),
        }
    )


@result_variants.register
def _(result: Inspection) -> dict[str, Variant]:
    return variants(
        {
            "reference": ("s", result.reference),
            "digest": ("s", result.digest),
            "image-id": ("s", result.image_id),
            "platforms": ("as", result.platforms),
            "os": ("s", result.os),
            "architecture": ("s", result.architecture),
            "layers": ("a(sst)", result.layers),
            "size": ("t", result.size),
            "config": ("s", result.config),
        }
    )
