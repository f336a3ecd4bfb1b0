# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often Populate reads the records of a pool."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import some_image
from tests.support.registry import Registry
from tests.support.service_parts import service_parts, some_job
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordList
from virtlayer.service.keeper.records import Records
from virtlayer.service.operations.outcome import Outcome
from virtlayer.service.operations.populate import PopulateRequest, populate

NAMES = ("one", "two", "three", "four", "five", "six")


async def test_records_are_read_once_for_all_unchanged_images(
    host: LibvirtHost, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    configured = tmp_path / "config" / "virtlayer" / "images.d"
    configured.mkdir(parents=True)
    lists = []
    real = Records.list

    async def listed(*arguments: Any) -> RecordList:
        lists.append(arguments)
        return await real(*arguments)

    (tmp_path / "registry").mkdir()
    with Registry(tmp_path / "registry") as registry:
        for name in NAMES:
            source = registry.store(some_image("base", name), f"{name}:1")
            settings = f'source = "{source}"\npool = "{pool.name}"\ntls-verify = false\n'
            (configured / f"{name}.toml").write_text(settings)
        async with service_parts(host, tmp_path) as services:
            await populate(services, PopulateRequest(), some_job())
            monkeypatch.setattr(Records, "list", listed)
            for times in (1, 2):
                done = await populate(services, PopulateRequest(), some_job())
                assert [image.outcome for image in done.images] == [Outcome.UNCHANGED] * len(NAMES)
                assert len(lists) == times
