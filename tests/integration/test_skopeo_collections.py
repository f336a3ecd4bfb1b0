# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often the heap of skopeo's Go runtime is collected while a manifest is read."""

from pathlib import Path

import pytest

from tests.support import images
from tests.support.registry import Registry
from virtlayer.service.source.image import MANIFEST_LIMIT
from virtlayer.service.source.proxy import started_proxy

SHELL = """export GODEBUG=gctrace=1 {settings}; exec "$@" 2>"{log}" """


@pytest.mark.parametrize(("settings", "is_collected"), [("", False), ("GOGC=100", True)])
async def test_heap_is_not_collected_for_a_manifest(
    tmp_path: Path, settings: str, is_collected: bool
) -> None:
    log = tmp_path / "log"
    launcher = ("/bin/sh", "-c", SHELL.format(settings=settings, log=log), "sh")
    content = images.image([images.layer(images.file("a", b"a"))])
    (tmp_path / "registry").mkdir()
    with Registry(tmp_path / "registry") as registry:
        reference = registry.store(content, "demo:1")
        async with started_proxy(
            ["--insecure-policy"], ["--tls-verify=false"], launcher=launcher
        ) as proxy:
            await proxy.open_image(reference)
            digest, _ = await proxy.manifest(MANIFEST_LIMIT)
    assert digest == content.digest
    collections = [line for line in log.read_text().splitlines() if line.startswith("gc ")]
    assert bool(collections) == is_collected, collections
