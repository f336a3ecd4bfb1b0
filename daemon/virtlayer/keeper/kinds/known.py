# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of pools that there are; ``refused`` has the others."""

from collections.abc import Mapping

from virtlayer.keeper.kinds.directory.kind import DirectoryKind
from virtlayer.keeper.kinds.kind import PoolKind
from virtlayer.protocol.pools import Pool

_DIRECTORY = DirectoryKind()
_KINDS: Mapping[str, PoolKind] = {"dir": _DIRECTORY, "fs": _DIRECTORY, "netfs": _DIRECTORY}
"""By libvirt's type of the pool; ``xml`` reads no others."""


def kind_of(pool: Pool) -> PoolKind:
    """What can be done with a pool."""
    return _KINDS[pool.kind]
