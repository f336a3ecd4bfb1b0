# SPDX-License-Identifier: LGPL-2.1-or-later
"""A directory that was pulled becomes a container of libvirt-LXC, by the commands of a user.

`make soak` runs this. See docs/machines.md.
"""

import asyncio
from pathlib import Path

import pytest
from dbus_next.signature import Variant

from tests.support.booted_machines import PATIENCE, MachineUser, machine_user
from tests.support.images import directory, file, image, layer, symlink
from tests.support.libvirt_host import LibvirtHost
from virtlayer.settings import Settings

pytestmark = pytest.mark.root

_PROGRAMS = ("sh", "id", "cat", "stat", "touch", "sleep")
_SCRIPT = "id; cat /proc/self/uid_map; stat -c %u /etc; touch /made && stat -c %u /made; exit 6"


def _options(script: str) -> dict[str, Variant]:
    command = Variant("as", ["/bin/sh", "-c", script])
    return {"type": Variant("s", "lxc"), "command": command}


async def _pulled(user: MachineUser) -> Path:
    """Pull an image as the directory "box" of the pool; return its path."""
    entries = [
        *map(directory, ("bin", "etc", "tmp")),
        file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in _PROGRAMS),
    ]
    content = image([layer(*entries)], config={"config": {"Cmd": ["/bin/sh"]}})
    await user.pull(content, "box", "--format=dir", "--id-map=auto", "--volume=box")
    return user.host.pool_directory(user.pool) / "box"


async def test_container_has_mapped_ids_a_status_and_leaves_its_directory(
    host: LibvirtHost, tmp_path: Path
) -> None:
    async with machine_user(host, tmp_path) as user:
        user.host.pool_directory(user.pool).chmod(0o711)
        tree = await _pulled(user)
        made = await user.create("box", "one", _options(_SCRIPT))
        assert (made["type"], made["volume"]) == ("lxc", "box")
        await user.has_state("one", "stopped")
        assert await user.tell("wait", "one") == "6\n"
        ids, mapped, *owners = (await user.tell("logs", "one")).splitlines()
        base = Settings().directory.id_base
        assert ids.startswith("uid=0 gid=0")
        assert mapped.split() == ["0", str(base), "65536"]
        assert owners == ["0", "0"]
        # Root of the container is not root of the host.
        assert (tree / "made").stat().st_uid == base
        used = await user.failed("box", "two", _options("true"))
        assert used["Error"] == "org.virtlayer1.Error.InUse"

        await user.tell("rm", "one")
        assert (tree / "made").exists()
        run = ("run", "--rm", "--type=lxc", f"--pool={user.pool}", "box", "sh", "-c")
        ended = await user.ended(*run, "cat /made && echo printed; exit 4")
        assert (ended.status, ended.stdout.replace("\r", "")) == (4, "printed\n"), ended.stderr
        # The service deletes its files when libvirt has reported the end.
        async with asyncio.timeout(PATIENCE):
            while user.files != {"box"}:
                await asyncio.sleep(0.1)
        await user.create("box", "two", _options("sleep 1000"))
        assert await user.state("two") == "running"
        assert (await user.tell("stop", "two"), await user.tell("wait", "two")) == (
            "two\n",
            "143\n",
        )
        await user.tell("rm", "two")
        assert user.files == {"box"}
