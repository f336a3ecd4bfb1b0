# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk with cloud-init boots as a machine. `make soak` runs this: it takes minutes."""

import os
from pathlib import Path
from typing import BinaryIO

from dbus_next.signature import Variant

from tests.support.booted_machines import machine_user, ssh_key
from tests.support.cloud_disk import cloud_disk
from tests.support.free_ports import free_port
from tests.support.images import directory, file, image, layer
from tests.support.libvirt_host import LibvirtHost
from virtlayer.sizes import MIB

_USER_DATA = b"#cloud-config\nruncmd:\n - echo written by user-data >/root/user-data\n"
_PASSWORD = "correct horse"
_CHECK = f"""\
cloud-init status --wait >/dev/null; hostname; cat /root/user-data
perl -e '$hash = (getpwnam("root"))[1]; print crypt("{_PASSWORD}", $hash) eq $hash ? "same" : $hash'
"""


def _pipe(content: bytes) -> BinaryIO:
    """The end of a pipe from which this is read."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return os.fdopen(reading, "rb")


async def test_disk_reads_its_seed_and_reports_its_crash(host: LibvirtHost, tmp_path: Path) -> None:
    content = image(
        [layer(directory("disk"), file("disk/debian.qcow2", cloud_disk()), compression="none")]
    )
    key, port = ssh_key(tmp_path), free_port()
    async with machine_user(host, tmp_path) as user:
        await user.pull(content, "cloud", "--format=disk")
        with _pipe(_USER_DATA) as user_data, _pipe(_PASSWORD.encode()) as password:
            await user.create(
                "cloud",
                "web",
                {
                    "memory": Variant("t", 768 * MIB),
                    "hostname": Variant("s", "web-1"),
                    "ssh-authorized-keys": Variant("as", [key.public]),
                    "publish": Variant("a(sqqs)", [["127.0.0.1", port, 22, "tcp"]]),
                    "user-data-fd": Variant("h", 0),
                    "root-password-fd": Variant("h", 1),
                },
                [user_data.fileno(), password.fileno()],
            )
        facts = (await key.run(port, _CHECK)).splitlines()
        assert facts == ["web-1", "written by user-data", "same"]
        assert await user.tell("stop", "--time", "240", "web") == "web\n"
        assert await user.tell("wait", "web") == "0\n"
        await user.tell("start", "web")
        # The driver of the kernel on the disk reports it.
        await key.run(port, "systemd-run --no-block sh -c 'echo c >/proc/sysrq-trigger'")
        await user.has_state("web", "crashed")
        assert await user.tell("wait", "web") == "125\n"
        await user.tell("rm", "web")
        # The disk, which has the name that its image had at the source.
        [disk] = user.files
        assert disk.endswith(":1")
