# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of layer volumes, which the service gives, and the keeper checks."""

import re

_LAYER_VOLUME = re.compile(r"layer-[0-9a-f]{64}(\.qcow2)?")
"""Without the suffix, it is an RBD image."""


def is_layer_volume(name: str) -> bool:
    """Whether a volume's name is one that ``service.chain.identity.volume_name`` gives."""
    return _LAYER_VOLUME.fullmatch(name) is not None
