# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user's private images, pulled by the command through the service of the system."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bus.daemon import virtlayerd
from tests.bus.polkit import NOBODY, open_directory, polkitd
from tests.support import images
from tests.support.bus_daemon import Bus, system_bus
from tests.support.command import COMMAND, Ended
from tests.support.libvirt_host import LibvirtHost
from tests.support.ordinary_user import as_user
from tests.support.waiting import PATIENCE
from virtlayer.sizes import MIB

pytestmark = pytest.mark.root
ALLOW = (
    "polkit.addRule(function (action, subject) {"
    'if (action.id.indexOf("org.virtlayer1.") == 0) return polkit.Result.YES;'
    "});\n"
)
POOL = "local"
LAYERS = [images.layer(images.file("data", os.urandom(3_000_000)))]


@pytest.fixture
async def bus(host: LibvirtHost, tmp_path: Path) -> AsyncIterator[Bus]:
    """A system bus with a virtlayerd on it, which everybody may use."""
    host.start_pool(POOL)
    settings = f"[storage]\nvirtual-size = {64 * MIB}\n"
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as bus,
    ):
        async with (
            polkitd(bus, ALLOW),
            virtlayerd(bus, tmp_path, "--connect", host.uri, settings=settings),
        ):
            yield bus
    host.stop_pool(POOL)
    # With the images that it describes.
    shutil.rmtree(host.pool_directory(POOL))


async def command(bus: Bus, *arguments: str) -> Ended:
    """Run the command as nobody."""
    process = await asyncio.create_subprocess_exec(
        *as_user(NOBODY.pw_uid, COMMAND, "--json", *arguments),
        env={"PATH": os.environ["PATH"], "DBUS_SYSTEM_BUS_ADDRESS": bus.address},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


@pytest.mark.parametrize("transport", ["oci", "docker-archive"])
async def test_private_image_is_pulled(bus: Bus, transport: str) -> None:
    with open_directory() as place:
        content = images.image(LAYERS)
        path = images.write_layout(place / "layout", {"1": content})
        source = f"oci:{path}:1"
        if transport == "docker-archive":
            path = images.write_docker_archive(place / "archive", "demo:1", LAYERS)
            source = f"docker-archive:{path}:demo:1"
        for one in (path, *path.rglob("*")):
            shutil.chown(one, NOBODY.pw_uid, NOBODY.pw_gid)
        path.chmod(0o700)
        ended = await command(bus, "pull", source, POOL, "--name=private")
        assert ended.status == 0, ended.stderr
        result = json.loads(ended.stdout)
        assert (result["name"], result["layers_built"]) == ("private", 1)
        [image] = json.loads((await command(bus, "images", POOL)).stdout)
        # Not the name of the copy that the service has read.
        assert image["source"] == source


async def test_command_that_does_not_wait_sends_everything(bus: Bus) -> None:
    with open_directory() as place:
        layout = images.write_layout(place / "layout", {"1": images.image(LAYERS)})
        ended = await command(bus, "pull", f"oci:{layout}:1", POOL, "--no-wait")
        assert ended.status == 0, ended.stderr
        # The service has its own copy by now, or an end of the pipe with all that is left.
        shutil.rmtree(layout)
        async with asyncio.timeout(PATIENCE):
            while not json.loads((await command(bus, "images", POOL)).stdout):
                await asyncio.sleep(0.05)
