# SPDX-License-Identifier: LGPL-2.1-or-later
"""skopeo's proxy uses one processor where there are few, because others work at the same time."""

import os
from pathlib import Path

import pytest

from virtlayer.service.source.proxy import started_proxy


@pytest.mark.parametrize(("processors", "limited"), [(1, True), (2, True), (8, False)])
async def test_proxy_uses_one_of_few_processors(
    processors: int, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    async with started_proxy([], []) as proxy:
        environment = Path(f"/proc/{proxy.pid}/environ").read_bytes().split(b"\0")
    assert (b"GOMAXPROCS=1" in environment) == limited
