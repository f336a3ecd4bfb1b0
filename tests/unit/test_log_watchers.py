# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logs of machines are watched with descriptors whose number the host limits."""

import resource
from typing import cast

import pytest

from virtlayer.errors import Busy
from virtlayer.protocol.domains import Port
from virtlayer.service.keeper.connection import KeeperLink
from virtlayer.service.keeper.domains import Domains


class NeverAsked:
    """A link to the keeper."""

    async def connection(self) -> None:
        """There is nothing to ask."""


async def test_host_without_further_watchers_is_busy() -> None:
    domains = Domains(cast("KeeperLink", NeverAsked()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # inotify_init1(2) fails with EMFILE, as it does at fs.inotify.max_user_instances.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(Busy, match=r"Too many open files.*fs\.inotify\.max_user_instances"):
            await domains.open_log("11111111-2222-3333-4444-555555555555", Port.OUTPUT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
