# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boots the init of daemon/virtlayer/guest as process 1 of a machine."""

from pathlib import Path

from tests.support.guest import boot, busybox_tree, ext4_of
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import RecordKind

_SCRIPT = """
echo "arguments: $1|$2"
echo "ids: $(id)"
echo "home: $HOME, given: $GIVEN, term: $TERM, hostname: $HOSTNAME $(hostname)"
echo "path: $PATH"
echo "directory: $(pwd) $(stat -c %u:%g:%a .)"
echo "address: $(ip -4 -o address show eth0 | cut -d ' ' -f 7)"
echo "hosts: $(grep host-name /etc/hosts)"
echo "resolver: $(cat /etc/resolv.conf)"
echo "standard input: $(cat)."
echo "written to /dev/stdout" >/dev/stdout
echo "on standard error" >&2
exit 7
"""


def test_entrypoint_has_user_environment_directory_network_and_exit_status(tmp_path: Path) -> None:
    config = GuestConfig(
        arguments=("sh", "-c", _SCRIPT, "sh", "", "odd $argument\n'\""),
        environment=("GIVEN=a value",),
        directory="/made/here",
        user="app",
        hostname="host-name",
    )
    with boot(tmp_path, ext4_of(busybox_tree(tmp_path), tmp_path), config) as guest:
        output = guest.wait_until_off()
    assert [record.kind for record in output.records][:1] == [RecordKind.STARTED]
    assert output.stdout.splitlines() == [
        "arguments: |odd $argument",
        "'\"",
        "ids: uid=1000(app) gid=1001(app) groups=5(extra),10(wheel),1001(app)",
        "home: /home/app, given: a value, term: , hostname: host-name host-name",
        "path: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "directory: /made/here 1000:1001:755",
        "address: 10.0.2.15/24",
        "hosts: 10.0.2.15\thost-name",
        "resolver: nameserver 10.0.2.3",
        "standard input: .",
        "written to /dev/stdout",
    ]
    assert output.of(RecordKind.STDERR) == b"on standard error\n"
    assert (output.status, output.failure) == (7, "")
